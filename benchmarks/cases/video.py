"""Inference of a video, per frame.

All in: a 640x360 file is decoded, its frames predicted at the network's published size, and a PNG of the video's size
written for each. Ours is `Predictor.stream`: "exact" is the default, which gives the maps that a forward pass of every
window gives, "fast" a named approximation. The peer does what the official scripts do, in plain PyTorch: it decodes and
resizes each frame once, and runs the network on the window of each. A turn is a few frames in the middle of the film,
where windows follow each other. "whole file" is `Predictor.run`, which also writes the overlay video, the timeline and
its plot. Errors are those of fast's maps against exact's, for random weights.
"""

import collections
import functools
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Row, Run, Setting, compare, optional
from benchmarks.networks import NETWORKS, variables

PEER = "PyTorch, each window"
SIZE = (640, 360)
# Frames of a turn; a multiple of the batch and of what the mode fast leaves out.
TURN = 8
# Frames of the file; `stream` goes round and round it.
FRAMES = 50
# Samples of a window's audio in the peer, and how ImageNet's frames are normalised.
AUDIO = 35_280
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def rows(setting: Setting) -> Iterator[Row]:
    """Yields the rows of ViNet and of STAViS."""
    missing = [name for name in ("av", "cv2", "PIL", "ml_collections", "orbax.checkpoint") if not optional(name)]
    for name in ("stavis",) if setting.quick else ("vinet", "stavis"):
        if missing:
            yield Row(f"{name}, per frame", "ours", not_run=f"needs {', '.join(missing)}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            yield from _of(name, setting, Path(folder))


class Maps:
    """Takes predictions turn by turn and writes their maps.

    Args:
        predictions: endless; of frames in order, each a map [h, w].
        folder: to write to.
        kept: how many maps are kept to be compared.
    """

    def __init__(self, predictions: Iterator[np.ndarray], folder: Path, kept: int = 10 * TURN):
        import cv2

        self._cv2, self._folder, self._next = cv2, folder, predictions
        self.maps: dict[int, np.ndarray] = {}
        self._count, self._kept = 0, kept
        folder.mkdir()

    def take(self, number: int = TURN) -> None:
        """Takes the next maps."""
        for saliency in itertools.islice(self._next, number):
            if self._count < self._kept:
                self.maps[self._count] = saliency
            large = self._cv2.resize(saliency, SIZE)
            low, high = large.min(), large.max()
            grey = np.uint8(255 * (large - low) / max(high - low, 1e-12))
            self._cv2.imwrite(str(self._folder / f"{self._count % FRAMES:06d}.png"), grey)
            self._count += 1


def decoded(path: Path) -> Iterator[np.ndarray]:
    """Yields the frames of a file, [H, W, 3], again and again."""
    import av

    while True:
        with av.open(str(path)) as file:
            for frame in file.decode(video=0):
                yield frame.to_ndarray(format="rgb24")


def _of(name: str, setting: Setting, folder: Path) -> Iterator[Row]:
    from avsd_jax.prediction.predictor import Predictor
    from benchmarks.video_files import FPS, SAMPLE_RATE, write_video

    network = next(network for network in NETWORKS if network.name == name)
    path = write_video(folder / "video.mp4", FRAMES, *SIZE)
    predictor = Predictor(_checkpoint(name, folder / "model"))
    sound = (0.1 * np.random.default_rng(0).standard_normal(FRAMES * SAMPLE_RATE // FPS)).astype(np.float32)

    def stream(mode: str) -> Iterator[np.ndarray]:
        audio = (itertools.repeat(sound), SAMPLE_RATE) if "audio" in network.shapes else None
        return (p.saliency for p in predictor.stream(decoded(path), float(FPS), audio, mode=mode))

    ours = {mode: Maps(stream(mode), folder / mode) for mode in ("exact", "fast")}
    runs = {
        f"ours, {mode}": Run(maps.take, _done, TURN, headline=f"{name}: video, {mode}", against=PEER)
        for mode, maps in ours.items()
    }
    for maps in ours.values():
        maps.take(setting.pick(4, 3) * TURN)  # past the first windows, which are shorter or reversed
    whole, not_run = {}, {}
    if optional("torch"):
        peer = Maps(_peer(network, path, setting), folder / "peer", 0)
        runs[PEER] = Run(peer.take, _done, TURN)
        whole[PEER] = Run(lambda: peer.take(FRAMES), _done, FRAMES)
    else:
        not_run[PEER] = "needs torch"
    yield from compare(setting, f"{name}, a frame of 640x360", runs, unit="frame", not_run=not_run)
    yield from _errors(name, ours)
    if name == "stavis" and not setting.quick:
        out = folder / "out"
        call = functools.partial(predictor.run, path, out, progress=False)
        whole = {"ours, whole file": Run(call, _done, FRAMES, headline=f"{name}: video file", against=PEER)} | whole
        yield from compare(setting, f"{name}, a file of {FRAMES} frames", whole, unit="frame", not_run=not_run)


def _done(result: Any) -> None:
    """Waits for nothing: files are written."""


def _errors(name: str, ours: dict[str, Maps]) -> Iterator[Row]:
    exact, fast = ours["exact"].maps, ours["fast"].maps
    shared = sorted(exact.keys() & fast.keys())
    a, b = (np.stack([maps[i] for i in shared]) for maps in (exact, fast))
    correlations = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    error = float(np.abs(a - b).max() / np.ptp(a))
    values = {"largest error, of the range": error, "lowest correlation": float(min(correlations))}
    yield Row(f"{name}: fast against exact", f"{len(shared)} frames", values=values)


def _checkpoint(name: str, folder: Path) -> Path:
    """Writes a model with random weights and the published preprocessing."""
    from avsd_jax.config.base import base
    from avsd_jax.runs.checkpoint import save_variables

    network = next(network for network in NETWORKS if network.name == name)
    config = base(name)
    config.frame_size = network.shapes["video"][1:3]
    config.sampler = config.preprocessing = name
    save_variables(folder, config, variables(network.model(), network.batch(1)))
    return folder


def _peer(network: Any, path: Path, setting: Setting) -> Iterator[np.ndarray]:
    """Yields the maps of each window by PyTorch, in its default mode."""
    import torch
    from PIL import Image

    from benchmarks.peers import modes

    mode = modes.Mode(precision="tf32" if setting.device == "gpu" else "fp32")
    model = modes.network(network.peer, setting.device, mode)
    length, height, width, _ = network.shapes["video"]
    window: collections.deque = collections.deque(maxlen=length)
    heard = np.random.default_rng(0).standard_normal((1, AUDIO)).astype(np.float32)
    for image in decoded(path):
        resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        if network.name == "stavis":
            frame = resized.astype(np.float32) - 100 * MEAN
        else:
            frame = (resized.astype(np.float32) / 255 - MEAN) / STD
        window.append(torch.from_numpy(frame.transpose(2, 0, 1)))
        if len(window) < length:
            continue
        given = [torch.stack(tuple(window), 1)[None]]
        if "audio" in network.shapes:
            given.append(torch.from_numpy(heard * np.hanning(AUDIO).astype(np.float32))[:, None, None])
        with torch.inference_mode(), modes.products(mode):
            yield model(*(modes.placed(x, setting.device, mode) for x in given))[0].cpu().numpy()
