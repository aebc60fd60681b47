"""Selective class activation mapping (Wang et al., "STANet", CVPR 2021): fusion of the branches' maps to pseudo labels.

The arithmetic is that of the official MATLAB scripts. Planes are square, as there; boxes are 1-based and inclusive.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int, Num, UInt8

from avsd_jax.metrics.resize import bicubic_matrix

# Number of averaged maps, the last of which is this many frames ahead.
_SLOTS = 5
_AHEAD = 2
_OFFSET = 1e-4

Box = Int[np.ndarray, "4"]


def min_max(x: Num[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Normalises a map to [0, 1] (min-max); a constant one is unchanged."""
    x = np.asarray(x, np.float64)
    low, high = x.min(), x.max()
    return (x - low) / (high - low) if high > low else x


def fuse(
    cams: Sequence[UInt8[np.ndarray, "h w"]], confidences: Sequence[float] | Float[np.ndarray, " n"]
) -> Float[np.ndarray, "h w"]:
    """Averages the normalised maps of the branches, weighted by their confidence, and normalises the result.

    Args:
        cams: one image per branch.
        confidences: of each branch in its frame; 0 leaves a branch out.
    """
    weighted = sum(min_max(cam / 255) * p for cam, p in zip(cams, confidences, strict=True))
    return min_max((weighted + _OFFSET) / (sum(confidences) + _OFFSET))


def bounding_box(fused: Float[np.ndarray, "h w"], threshold: float = 2.0) -> Box:
    """Returns the rectangle (first row, last row, first column, last column) around values above `threshold` means.

    It is counted from 1, inclusive. A map without such values gives the whole plane.
    """
    above = fused > threshold * fused.mean()
    if not above.any():
        above = np.ones_like(above)
    rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
    return np.array([rows[0], rows[-1], columns[0], columns[-1]]) + 1


def resize(x: Num[np.ndarray, "h w *c"], size: tuple[int, int]) -> Float[np.ndarray, "height width *c"]:
    """Resizes a map or an image with channels by MATLAB's bicubic `imresize` in float64."""
    rows, columns = (bicubic_matrix(old, new) for old, new in zip(x.shape[:2], size, strict=True))
    return np.einsum("Hh,hw...,Ww->HW...", rows, np.asarray(x, np.float64), columns, optimize=True)


def as_image(x: Num[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Rounds and clips values to 0..255 as MATLAB's `uint8` does."""
    return np.clip(np.floor(np.asarray(x) + 0.5), 0, 255).astype(np.uint8)


def crop(frame: UInt8[np.ndarray, "h w 3"], box: Box, side: int) -> UInt8[np.ndarray, "ch cw 3"]:
    """Crops a box of the `side` x `side` plane from a frame, which is resized to that size first."""
    square = as_image(resize(frame, (side, side)))
    return square[_inside(box)]


def paste(values: Num[np.ndarray, "h w"], box: Box, side: int) -> Float[np.ndarray, "side side"]:
    """Pastes the map of a box back: resized to the box, in a plane of zeros."""
    first_row, last_row, first_column, last_column = box
    plane = np.zeros((side, side))
    plane[_inside(box)] = resize(values, (int(last_row - first_row + 1), int(last_column - first_column + 1)))
    return plane


def _inside(box: Box) -> tuple[slice, slice]:
    first_row, last_row, first_column, last_column = (int(value) for value in box)
    return slice(first_row - 1, last_row), slice(first_column - 1, last_column)


def cut(x: Float[np.ndarray, "h w"], threshold: float) -> Float[np.ndarray, "h w"]:
    """Sets a map to 0 where it is below `threshold` times its mean."""
    return np.where(x < threshold * x.mean(), 0, x)


def smooth(
    maps: Iterable[Num[np.ndarray, "h w"]], threshold: float = 3.0
) -> Iterator[tuple[int, Float[np.ndarray, "h w"]]]:
    """Smooths a video's maps in time, each from the previous four smoothed ones and the map two frames ahead.

    The first five maps initialise it. Four fifths of each map are from earlier frames: a jump to another location
    appears six frames late, so this suits static objects. Values below `threshold` times the mean of a smoothed map
    are set to 0 in the output only.

    Args:
        maps: of all frames in order, each of any scale.
        threshold: in means of a map.

    Yields:
        `(frame, map)`: frames counted from 0, 3 to N - 3, which have all inputs; maps in [0, 1]. Fewer than
        six frames give none.
    """
    maps = iter(maps)
    slots = [min_max(x) for x in itertools.islice(maps, _SLOTS)]
    slots[-1:] = [min_max(np.mean(slots, axis=0))] if slots else []
    for frame, ahead in enumerate(maps, start=_SLOTS - _AHEAD):
        slots = [*slots[1:], min_max(ahead)]
        slots[-1] = current = min_max(np.mean(slots, axis=0))
        yield frame, cut(current, threshold)
