"""Clips for training.

Batches of 8 clips of ViNet, 32 frames of 224x384 with the target's map, drawn at random from videos of 640x480 in
STAViS's layout. Ours reads the built dataset by the pipeline that trains (`avsd_jax.data.pipeline.train_batches`); the
peer reads the same clips' JPEG files as the official loaders do: Pillow decodes and resizes each frame. Both are timed
with one thread, and with the four of the default configuration, which are started and stopped in each turn.
"""

import concurrent.futures
import contextlib
import io
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import Row, Run, Setting, compare, optional

BATCH, CLIP, SIZE = 8, 32, (224, 384)
# Batches of a turn where threads prepare them, so that starting them counts little.
LONG = 3
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def rows(setting: Setting) -> Iterator[Row]:
    """Yields the rows of both readers."""
    needed = ("cv2", "PIL", "grain", "tensorflow_datasets", "array_record", "ml_collections")
    missing = [name for name in needed if not optional(name)]
    if missing:
        yield Row("clips", "ours", not_run=f"needs {', '.join(missing)}")
        return
    with tempfile.TemporaryDirectory() as folder:
        yield from _rows(setting, Path(folder))


def _rows(setting: Setting, folder: Path) -> Iterator[Row]:
    from avsd_jax.sources import build
    from benchmarks import datasets

    datasets.write_tree(folder / "files", 3)
    with contextlib.redirect_stderr(io.StringIO()):  # its progress
        build.build("avad", folder / "data", manual_dir=folder / "files")
    runs = {}
    for threads, peer in ((0, "Pillow, one thread"), (4, "Pillow, 4 threads")):
        number = LONG if threads else 1
        title = "ours, 4 threads" if threads else "ours, one thread"
        call = _ours(folder / "data", threads, number, setting.seed)
        runs[title] = Run(call, _done, number * BATCH, headline=f"clips: {title}", against=peer)
        runs[peer] = Run(_peer(folder / "files", max(1, threads), number, setting.seed), _done, number * BATCH)
    yield from compare(setting, f"clip of {CLIP} frames", runs, unit="clip")


def _done(result: object) -> None:
    """Waits for nothing: clips are arrays of the host."""


def _ours(data_dir: Path, threads: int, number: int, seed: int) -> Callable[[], None]:
    """Returns what prepares so many batches, the next ones in each call."""
    from avsd_jax.config.base import base
    from avsd_jax.data import pipeline
    from avsd_jax.data.catalog import open_store
    from avsd_jax.runs.components import Inference

    store, spec = open_store("avad", "train_1", data_dir), Inference.from_config(base("vinet")).spec
    steps = itertools.count(0, number)

    def call() -> None:
        options = {"batch_size": BATCH, "seed": seed, "start_step": next(steps), "num_threads": threads}
        batches = pipeline.train_batches(store, spec, **options)
        for _ in range(number):
            assert next(batches)["video"].shape == (BATCH, CLIP, *SIZE, 3)
        batches.close()

    return call


def _peer(root: Path, threads: int, number: int, seed: int) -> Callable[[], None]:
    """Returns what reads so many batches of random clips from files."""
    import cv2
    from PIL import Image

    rng = np.random.default_rng(seed)
    videos = sorted((root / "video_frames/AVAD").iterdir())[:2]
    lengths = [len(list(video.iterdir())) for video in videos]

    def clip(start: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        video, first = start
        frames = []
        for frame in range(first, first + CLIP):
            with Image.open(videos[video] / f"img_{frame:05d}.jpg") as image:
                resized = image.convert("RGB").resize(SIZE[::-1], Image.Resampling.BILINEAR)
            frames.append((np.asarray(resized, np.float32) / 255 - MEAN) / STD)
        path = root / "annotations/AVAD" / videos[video].name / f"maps/eyeMap_{first + CLIP - 1:05d}.jpg"
        density = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255
        return np.stack(frames), cv2.resize(density, SIZE[::-1])

    def call() -> None:
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            for _ in range(number):
                starts = [(v := int(rng.integers(2)), int(rng.integers(1, lengths[v] - CLIP))) for _ in range(BATCH)]
                video, _ = map(np.stack, zip(*pool.map(clip, starts), strict=True))
                assert video.shape == (BATCH, CLIP, *SIZE, 3)

    return call
