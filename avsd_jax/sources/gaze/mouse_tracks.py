"""Fixations of AViMoS: one JSON file per video, `[[[y, x], ...], ...]`, a list of points for each frame.

Coordinates are whole pixels of the video, from 0, the row first: the official code indexes maps by them in that order.
A point that several viewers share, or one viewer keeps, is listed as often as it occurs, and all of them count.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from avsd_jax.common import safe_paths
from avsd_jax.errors import InputError


@dataclass(frozen=True)
class Tracks:
    """The points of a video.

    Attributes:
        rows: (frame, -1, x, y), frames ascending from 0, repeated points repeated; viewers are not distinguished.
        num_frames: frames that the file covers.
    """

    rows: Float32[np.ndarray, "f 4"]
    num_frames: int

    def within(self, plane: tuple[int, int], num_frames: int) -> Float32[np.ndarray, "g 4"]:
        """Returns the points inside of an image (height, width), in the first frames."""
        height, width = plane
        x, y = self.rows[:, 2], self.rows[:, 3]
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        return self.rows[inside & (self.rows[:, 0] < num_frames)]

    def unseen(self, num_frames: int) -> tuple[int, ...]:
        """Returns the frames without any point, counted from 1."""
        counts = np.bincount(self.rows[:, 0].astype(int), minlength=num_frames)[:num_frames]
        return tuple(int(frame) + 1 for frame in np.flatnonzero(counts == 0))


def read(path: Path) -> Tracks:
    """Reads a file of fixations.

    Raises:
        InputError: it cannot be read, or is not as described; the message names the frame.
    """
    try:
        frames = json.loads(safe_paths.read_text(path))
    except (RecursionError, ValueError) as error:
        raise InputError(f"{path} is not JSON ({error}): restore the file") from error
    if not isinstance(frames, list) or not frames:
        raise InputError(f"{path} is no list of frames, each a list of points [y, x]: restore the file")
    found = [_points(points, f"{path}, frame {number}") for number, points in enumerate(frames, 1)]
    frame = np.repeat(np.arange(len(found)), [len(points) for points in found])
    y, x = np.concatenate(found).T
    rows = np.stack([frame, np.full(len(frame), -1), x, y], axis=1)
    return Tracks(rows.astype(np.float32), len(found))


def _points(points: object, where: str) -> Float32[np.ndarray, "k 2"]:
    """Returns (y, x) of one frame."""
    if points == []:
        return np.zeros((0, 2), np.float32)
    try:
        values = np.asarray(points)
    except ValueError:  # lists of different lengths
        values = np.zeros(0)
    if values.ndim != 2 or values.shape[1] != 2 or values.dtype.kind not in "iuf":
        raise InputError(f"{where} is no list of points [y, x]: restore the file")
    if not (np.isfinite(values) & (values == np.rint(values))).all():
        raise InputError(f"{where} has a point that is not in whole pixels: restore the file")
    return values.astype(np.float32)
