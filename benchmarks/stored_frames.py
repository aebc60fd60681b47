"""Scores per frame on disk, so that an interrupted benchmark resumes."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

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
    found = _read(path, of) if path.exists() else None
    if found is not None:
        return found
    frames, seconds = compute()
    arrays = to_arrays(frames) | {"of": np.array(of), "seconds": np.array(seconds)}
    atomic_files.write(path, lambda file: np.savez(file, **arrays))
    return frames, seconds


def _read(path: Path, of: Sequence[Any]) -> tuple[Frames, float] | None:
    """Returns what a file holds; None if that is something else, or the file is damaged."""
    try:
        with np.load(path) as stored:
            if stored["of"].tolist() == list(of):
                return from_arrays(stored), float(stored["seconds"]) if "seconds" in stored else 0.0
    except (EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile):
        logging.warning("%s is damaged: its rows are scored again", path)
    return None


def to_arrays(frames: Frames) -> dict[str, np.ndarray]:
    """Returns the columns of frames by name."""
    columns = {name: getattr(frames, name) for name in _COLUMNS}
    scores = {f"score {metric}": values for metric, values in frames.scores.items()}
    return {name: values for name, values in (columns | scores).items() if values is not None}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Frames:
    """Returns the frames of `to_arrays`."""
    scores = {name.removeprefix("score "): arrays[name] for name in arrays if name.startswith("score ")}
    return Frames(scores=scores, **{name: arrays[name] for name in _COLUMNS if name in arrays})
