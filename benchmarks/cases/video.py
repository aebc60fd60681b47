"""Videos, per frame, all in.

A file of 640x360 is decoded, resized, predicted, and written as an overlay video and one PNG map per frame, as `python
-m avsd_jax.predict` does, in the middle of a long video, where every clip is the one before moved on by a frame.
"exact" computes what neighbouring clips share once, "each clip alone" does not, "fast" is `--mode=fast`. Clips of
STAViS share no more than what its stem makes of each frame, since attention differs from clip to clip: 13.4 of 19.5
GFLOP stay. The peer calls the network in PyTorch with each clip, as the official scripts do, and writes the maps alone.
The error of "fast" is that of its maps, half of which are interpolated, against those of "exact": with random weights,
on a video of moving noise. Weights that were trained, and other videos, have another one. On a CPU under Linux, ours
has the huge pages that the command asks for; PyTorch asks for none, and has a row of its own with them. A virtual
machine may give free pages of that size back to its host while others take their turns, and get them back slowly:
without turns, ViNet's "exact" took 475 ms a frame without huge pages and 488 with them, STAViS's 109 and 84, before its
convolutions were improved.
"""

import collections
import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.measure import Row, Run, Setting, compare, optional, with_huge_pages
from benchmarks.networks import NETWORKS, Network, variables

FRAMES_PER_CALL, FPS, SIZE = 4, 25, (640, 360)
PEER = "PyTorch eager, each clip alone"


def rows(setting: Setting) -> Iterator[Row]:
    """Yields the rows of each network."""
    for network in NETWORKS:
        if network.name not in setting.pick(("vinet", "stavis"), ("stavis",)):
            continue
        if missing := [package for package in ("av", "cv2", "PIL") if not optional(package)]:
            yield Row(network.title, "ours", not_run=f"needs {', '.join(missing)}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            yield from _rows(network, Path(folder), setting)


def _rows(network: Network, folder: Path, setting: Setting) -> Iterator[Row]:
    from avsd_jax.prediction.traits import FAST_STRIDE

    video = write_video(folder / "video.mp4", 50, setting.seed)
    predictor = random_predictor(network, folder / "model", setting.seed)
    maps: dict[str, list[np.ndarray]] = {}
    runs = {}
    for title, how in {"exact": {}, "fast": {"mode": "fast"}, "each clip alone": {"in_series": False}}.items():
        maps[title] = []
        frames = predicted(predictor, video, folder / title.replace(" ", "_"), maps[title], **how)
        # More than a batch, as the next one is always begun; in the mode fast a clip gives several frames.
        number = 2 * FRAMES_PER_CALL * (FAST_STRIDE if title == "fast" else 1)
        runs[f"ours, {title}"] = _taking(frames, number, f"{network.name}: video, {title}")
    not_run = {}
    if optional("torch"):
        found = peer(network, predictor.spec, video, folder / "peer", setting.device)
        runs[PEER] = _taking(found, FRAMES_PER_CALL)
        runs |= with_huge_pages(runs, PEER)
    else:
        not_run[PEER] = "needs torch"
    for row in compare(setting, network.title, runs, unit="frame", against=PEER, not_run=not_run):
        apart = row.name in ("ours, fast", "ours, each clip alone")
        yield dataclasses.replace(row, values=_error(maps[row.name[6:]], maps["exact"])) if apart else row


def _taking(frames: Iterator[Any], number: int, headline: str = "") -> Run:
    # Batches that are begun count where they were begun.
    return Run(
        lambda: list(itertools.islice(frames, number)),
        wait=lambda _: jax.block_until_ready(jax.live_arrays()),
        units=number,
        headline=headline,
        huge_pages=bool(headline),  # ours
    )


def _error(found: list[np.ndarray], exact: list[np.ndarray]) -> dict[str, float]:
    """Returns columns: how far maps are from the exact ones of the same frames."""
    number = min(len(found), len(exact))
    a, b = np.stack(found[:number]), np.stack(exact[:number])
    cc = np.mean([np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)])
    return {"frames": number, "largest difference": float(np.abs(a - b).max() / b.max()), "CC": float(cc)}


def write_video(path: Path, frames: int, seed: int) -> Path:
    """Writes a video of smooth noise that moves by two pixels a frame; returns its path."""
    import av
    import cv2

    width, height = SIZE
    coarse = np.random.default_rng(seed).integers(0, 255, (height // 20, width // 10, 3), np.uint8)
    whole = cv2.resize(coarse, (width + 2 * frames, height), interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            image = np.ascontiguousarray(whole[:, 2 * index : 2 * index + width])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        file.mux(stream.encode())
    return path


def endless(path: Path) -> Iterator[Any]:
    """Yields the frames of a video again and again, decoded anew, with the numbers and times of one long video."""
    from avsd_jax.media.reading import read_frames

    for index, frame in enumerate(itertools.chain.from_iterable(read_frames(path) for _ in itertools.count())):
        yield frame._replace(index=index, time=index / FPS)


def random_predictor(network: Network, folder: Path, seed: int) -> Any:
    """Returns the predictor of a network of random weights, whose clips are in one series from the first frame on."""
    from avsd_jax.config.base import base
    from avsd_jax.data import samplers
    from avsd_jax.prediction.predictor import Predictor
    from avsd_jax.runs.checkpoint import save_variables

    config = base(network.name)
    config.frame_size, config.preprocessing = network.shapes["video"][1:3], network.name
    save_variables(folder, config, variables(network.model(), network.batch(1), seed))
    predictor = Predictor(folder)
    predictor.spec = dataclasses.replace(predictor.spec, sampler=samplers.create("centred"))
    return predictor


def predicted(
    predictor: Any, video: Path, out: Path, maps: list[np.ndarray], mode: str = "exact", in_series: bool = True
) -> Iterator[Any]:
    """Predicts an endless video and writes its files; yields each frame that is written, and keeps the first maps."""
    from avsd_jax.media.survey import survey
    from avsd_jax.prediction.result_files import Label, ResultFiles

    how = predictor.traits.settings(mode, None, None, None)
    info = survey(video).info
    out.mkdir()
    with predictor.opened(info, endless(video), how, in_series=in_series) as (_, pairs):
        label: Callable[[Any], Label] = lambda prediction: predictor.traits.label(info, prediction)  # noqa: E731
        with ResultFiles(out, info, "png", predictor.spec.preprocessing, {"video": video.name}, label) as files:
            yield from files.write(_kept(pairs, maps))


def _kept(pairs: Iterator[Any], maps: list[np.ndarray]) -> Iterator[Any]:
    for frame, prediction in pairs:
        if len(maps) < 10 * FRAMES_PER_CALL:
            maps.append(prediction.saliency)
        yield frame, prediction


def peer(network: Network, spec: Any, video: Path, out: Path, device: str) -> Iterator[Any]:
    """Predicts an endless video by PyTorch, a clip per frame, and writes a map for each; yields their paths."""
    import cv2
    import torch

    from benchmarks.peers import modes

    out.mkdir()
    mode = modes.Mode(precision="tf32" if device == "gpu" else "fp32")
    model = modes.network(network.peer, device, mode)
    # Of a window's audio, that of a video without a track.
    silence = {name: np.zeros((1, *shape), np.float32) for name, shape in network.shapes.items() if name == "audio"}
    clip: collections.deque = collections.deque(maxlen=spec.clip_size)
    for frame in endless(video):
        clip.append(spec.preprocessing.normalise(spec.preprocessing.resize_frame(frame.image, spec.frame_size)))
        if len(clip) < spec.clip_size:
            continue
        given = modes.tensors(network.peer_inputs({"video": np.stack(clip)[None], **silence}), device, mode)
        with torch.inference_mode(), modes.products(mode):
            saliency = model(*given)[0].cpu().numpy()
        image = spec.preprocessing.to_image(spec.preprocessing.smooth(saliency, frame.image.shape[:2]))
        path = out / f"{frame.index:06d}.png"
        cv2.imwrite(str(path), image)
        yield path
