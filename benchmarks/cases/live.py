"""A small network, live: a video of 640x360 with sound, per frame, all in.

`python -m avsd_jax.predict` of a whole file of 25 frames per second by UNISAL with random weights: the file is
surveyed, decoded, resized (Lanczos), predicted, and written as an overlay video with its sound and a PNG map per frame.
Above 25 frames per second it is faster than the file plays. "5 sequences" is `--frame_step=5`, UNISAL's own protocol.
"without the network" does all the rest. The peer calls the network in PyTorch with each frame and the state before it,
and writes the maps alone: no overlay, no sound. The second table is the forward pass alone, of which "5 x 1" are a
frame of each of 5 sequences.
"""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.measure import Row, Run, Setting, compare, optional
from benchmarks.networks import UNISAL, variables

FILES, ALONE = "UNISAL, video of 640x360", "UNISAL, frames of 224x384"
PEER = "PyTorch eager, frame by frame"
_PROTOCOL = 5


def rows(setting: Setting) -> Iterator[Row]:
    """Yields the rows of files and those of the network alone."""
    if missing := [package for package in ("av", "cv2", "PIL", "ml_collections") if not optional(package)]:
        yield Row(FILES, "ours", not_run=f"needs {', '.join(missing)}")
        return
    with tempfile.TemporaryDirectory() as folder:
        yield from _files(Path(folder), setting)
    yield from _alone(setting)


def _files(folder: Path, setting: Setting) -> Iterator[Row]:
    from avsd_jax.prediction.predictor import Predictor
    from benchmarks.video_files import write_video

    frames = setting.pick(100, 50)
    video = write_video(folder / "video.mp4", frames, 640, 360)
    _save_random(folder / "model", setting.seed)
    ours, protocol = (Predictor(folder / "model", frame_step=step) for step in (1, _PROTOCOL))
    runs = {
        "ours": Run(
            lambda: ours.run(video, folder / "ours", progress=False),
            units=frames,
            headline="UNISAL: video of 640x360, all in",
        ),
        f"ours, {_PROTOCOL} sequences": Run(
            lambda: protocol.run(video, folder / "protocol", progress=False), units=frames
        ),
        "ours, without the network": Run(lambda: rest(ours, video), units=frames),
    }
    not_run = {}
    if optional("torch"):
        found = peer(video, ours.spec, setting.device)
        runs[PEER] = Run(found, units=frames)
    else:
        not_run[PEER] = "needs torch"
    for row in compare(setting, FILES, runs, unit="frame", against=PEER, not_run=not_run):
        rate = {"frames/s": 1e3 / row.ms.median} if row.ms else {}
        yield dataclasses.replace(row, values=rate)


def _save_random(folder: Path, seed: int) -> None:
    from avsd_jax.config.base import base
    from avsd_jax.runs.checkpoint import save_variables

    save_variables(folder, base(UNISAL.name), variables(UNISAL.model(), UNISAL.batch(1), seed))


def rest(predictor: Any, video: Path) -> None:
    """Does all that a prediction of a file does but for the network: each frame gets the same map."""
    from avsd_jax.media.reading import read_frames
    from avsd_jax.media.survey import survey
    from avsd_jax.prediction.every_frame import PassedFrames, Prediction
    from avsd_jax.prediction.result_files import Label, ResultFiles

    info, passed = survey(video).info, PassedFrames(read_frames(video))
    saliency = np.outer(np.hanning(224), np.hanning(384)).astype(np.float32)
    how, label = predictor.spec.preprocessing, Label("visual only", False, None)
    with tempfile.TemporaryDirectory() as out, contextlib.closing(predictor.clips(info, frames=passed)) as clips:
        same = (Prediction(frame, saliency, None, False) for clip in clips for frame in clip.frames)
        with ResultFiles(Path(out), info, "png", how, {"video": video.name}, lambda _: label) as files:
            files.finish([], sum(1 for _ in files.write(passed.paired(same))))


def peer(video: Path, spec: Any, device: str) -> Any:
    """Returns a function that predicts a video by PyTorch, frame by frame, and writes the maps."""
    import cv2
    import torch

    from avsd_jax.media.reading import read_frames
    from benchmarks.peers import modes

    mode = modes.Mode(precision="tf32" if device == "gpu" else "fp32")
    model = modes.network(UNISAL.peer, device, mode)

    def predict() -> None:
        state, how = None, spec.preprocessing
        with tempfile.TemporaryDirectory() as out, torch.inference_mode(), modes.products(mode):
            for frame in read_frames(video):
                shown = how.normalise(how.resize_frame(frame.image, spec.frame_size)).transpose(2, 0, 1)[None]
                saliency, state = model.step(*modes.tensors([shown], device, mode), state)
                image = how.to_image(how.smooth(saliency[0].cpu().numpy(), frame.image.shape[:2]))
                cv2.imwrite(f"{out}/{frame.index:06d}.png", image)

    return predict


def _alone(setting: Setting) -> Iterator[Row]:
    from avsd_jax.runs.components import make_forward

    drawn = variables(UNISAL.model(), UNISAL.batch(1), setting.seed)
    runs = {}
    for clips, frames in ((1, 12), (_PROTOCOL, 1)):
        batch = {"video": UNISAL.batch(clips, setting.seed)["video"][:, :frames]}
        forward = make_forward(UNISAL.model(clip_size=frames))
        state = np.zeros_like(forward(drawn, batch)["carry"])
        given = jax.device_put((drawn, batch | {"carry": state}))
        runs[f"ours, {clips} x {frames}"] = Run(
            lambda forward=forward, given=given: forward(*given), units=clips * frames, gflop=UNISAL.gflop / 12
        )
    not_run = {}
    if optional("torch"):
        from benchmarks.peers import modes

        mode = modes.modes(setting.device, False)[0]
        frame = UNISAL.batch(1, setting.seed)["video"][:, :1]
        run = modes.forward_run(UNISAL.peer, UNISAL.peer_inputs({"video": frame}), setting.device, mode)
        runs[PEER] = dataclasses.replace(run, gflop=UNISAL.gflop / 12, against="")
    else:
        not_run[PEER] = "needs torch"
    yield from compare(setting, ALONE, runs, unit="frame", against=PEER, not_run=not_run)
