"""Scores per frame on disk, so that an interrupted benchmark resumes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avsd_jax.common import atomic_files
from avsd_jax.scoring.summary import Frames

_COLUMNS = ("part", "video", "frame", "label", "gate", "margin")


def kept(path: Path, of: Sequence[Any], compute: Callable[[], tuple[Frames, float]]) -> tuple[Frames, float]:
    """Returns what `compute` returns, read from a file if that holds the same.

    Args:
        path: the file; it is written atomically.
        of: all that decides about the result.
        compute: returns the scored frames, and a time in seconds.
    """
    if path.exists():
        with np.load(path) as stored:
            if stored["of"].tolist() == list(of):
                return from_arrays(stored), float(stored["seconds"]) if "seconds" in stored else 0.0
    frames, seconds = compute()
    arrays = to_arrays(frames) | {"of": np.array(of), "seconds": np.array(seconds)}
    atomic_files.write(path, lambda file: np.savez(file, **arrays))
    return frames, seconds


def to_arrays(frames: Frames) -> dict[str, np.ndarray]:
    """Returns the columns of frames by name."""
    columns = {name: getattr(frames, name) for name in _COLUMNS}
    scores = {f"score {metric}": values for metric, values in frames.scores.items()}
    return {name: values for name, values in (columns | scores).items() if values is not None}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Frames:
    """Returns the frames of `to_arrays`."""
    scores = {name.removeprefix("score "): arrays[name] for name in arrays if name.startswith("score ")}
    return Frames(scores=scores, **{name: arrays[name] for name in _COLUMNS if name in arrays})
