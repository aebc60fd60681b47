"""Gaze of many viewers on one video, in pixels of the video, with counts of dropped samples."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32

from avsd_jax.errors import InputError

# Distance of the median of gaze from the centre, as a fraction of width or height, from which it looks misplaced. Gaze
# has a centre bias; a DIEM video of 720x576 read without its offset is 0.39 and 0.33 off.
_MEDIAN_TOLERANCE = 0.2
# Of MATLAB arrays: rows for a frame and viewer (two or three are known), and viewers (at most 72). An array with
# its axes in a different order has more.
_MOST_ROWS = 16
_MOST_VIEWERS = 1000


class NoGaze(InputError):
    """The owner's files are there, but have no gaze on the video."""


@dataclasses.dataclass(frozen=True)
class Dropped:
    """Numbers of dropped samples (one viewer in one frame), each for its first reason.

    Attributes:
        missing: the position is unknown (NaN).
        flagged: the recording marks it as a blink, a saccade or an error.
        outside: the position is outside of the image.
    """

    missing: int
    flagged: int
    outside: int

    def __str__(self) -> str:
        return f"{self.missing} missing, {self.flagged} blinks, saccades or errors, {self.outside} outside the image"


@dataclasses.dataclass(frozen=True)
class Gaze:
    """The gaze of the viewers of a video.

    Attributes:
        rows: (frame, viewer, x, y), sorted by frame, then viewer; frames and viewers from 0, x to the right and
            y downwards in pixels of the plane, pixel centres at whole numbers.
        viewers: the owner's name of each viewer, such as the stem of a file; they are numbered by their position here.
        num_frames: frames that the recording covers.
        plane: (height, width) of the image that `rows` refer to, pixels.
        median: (x, y) of all positions, also of those outside the image; NaN if there is none.
        dropped: numbers of samples that are not in `rows`.
    """

    rows: Float32[np.ndarray, "f 4"]
    viewers: tuple[str, ...]
    num_frames: int
    plane: tuple[int, int]
    median: tuple[float, float]
    dropped: Dropped

    def first(self, num_frames: int) -> "Gaze":
        """Returns the gaze on the first `num_frames` frames."""
        return dataclasses.replace(
            self, rows=self.rows[self.rows[:, 0] < num_frames], num_frames=min(num_frames, self.num_frames)
        )

    def misplaced(self) -> str | None:
        """Returns a sentence if the gaze is not around the centre of the image, which suggests a wrong offset.

        The median is used rather than the fraction inside the image: in a wide video a shift stays inside.
        """
        height, width = self.plane
        x, y = self.median
        off_x, off_y = (x - (width - 1) / 2) / width, (y - (height - 1) / 2) / height
        # False for NaN: no gaze is not misplaced.
        if max(abs(off_x), abs(off_y)) > _MEDIAN_TOLERANCE:
            return (
                f"the median of gaze ({x:.0f}, {y:.0f}) is far from the middle of the {width}x{height} image: check "
                "placement and offset"
            )
        return None


def collect(
    positions: Float[np.ndarray, "v n 2"],
    valid: Bool[np.ndarray, "v n"],
    viewers: Sequence[str],
    plane: tuple[int, int],
) -> Gaze:
    """Builds gaze from positions per viewer and frame.

    Args:
        positions: x and y in pixels of the plane, pixel centres at whole numbers; NaN if unknown.
        valid: False where the recording marks a sample as a blink, a saccade or an error.
        viewers: their names.
        plane: (height, width) of the image.

    Raises:
        InputError: two viewers have the same name.
    """
    for name in viewers:
        if list(viewers).count(name) > 1:
            raise InputError(f"viewer {name!r} is there twice: keep one of the recordings")
    height, width = plane
    x, y = positions[..., 0], positions[..., 1]
    known = np.isfinite(positions).all(axis=-1)
    used = known & valid
    # Comparisons with NaN are False.
    inside = used & (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    frames, numbers = np.nonzero(inside.T)
    rows = np.column_stack([frames, numbers, positions[numbers, frames]]).astype(np.float32)
    median = np.median(positions[used], axis=0) if used.any() else (np.nan, np.nan)
    dropped = Dropped(
        missing=int((valid & ~known).sum()), flagged=int((~valid).sum()), outside=int((used & ~inside).sum())
    )
    return Gaze(rows, tuple(viewers), positions.shape[1], plane, (float(median[0]), float(median[1])), dropped)


def from_array(value: np.ndarray, where: str) -> Float[np.ndarray, "v n 2"]:
    """Extracts positions from MATLAB's array [D, n, v], of which row 0 is x and row 1 is y; others are ignored.

    Args:
        value: MATLAB drops trailing axes of length 1, so a single viewer has [D, n].
        where: file and variable, for the message.

    Raises:
        InputError: it is not such an array.
    """
    if value.ndim == 2:
        value = value[..., None]
    fits = value.dtype.kind in "fiu" and value.ndim == 3 and value.size and 2 <= value.shape[0] <= _MOST_ROWS
    if not fits or value.shape[2] > _MOST_VIEWERS:
        raise InputError(
            f"{where} is {value.dtype.name} {list(value.shape)} and not numbers [2 or more, frames, viewers]: restore "
            "the file"
        )
    return value[:2].astype(np.float64).transpose(2, 1, 0)
