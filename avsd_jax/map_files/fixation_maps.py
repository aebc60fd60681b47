"""Binary fixation maps, such as `fixMap_00001.mat`, converted to points and checked for plausibility.

A density map or a map of ones instead would give thousands of fixations per frame, and wrong values of every metric.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped

from avsd_jax.errors import InputError

# The largest number of viewers per frame of each dataset: DIEM's largest inspected archive has 166 viewers, and
# Coutrot's are pooled over the audio conditions.
VIEWERS = {"diem": 200, "avad": 16, "coutrot1": 72, "coutrot2": 40, "summe": 10, "etmd": 10}
# Positions of one viewer in one frame: maps may be made from the samples of a tracker, not one position per frame.
POSITIONS_PER_VIEWER = 10
# Fraction of an image's pixels that fixations may take: 2,000 points on 640x480 take 0.0065.
PIXEL_SHARE = 0.1
# Some writers count the viewers of a pixel. More levels indicate a density map.
_MOST_AT_ONE_PIXEL = 16


def points(values: Shaped[np.ndarray, "h w"], path: Path) -> Float32[np.ndarray, "n 2"]:
    """Returns the points (x, y) of a map of zeros and ones, or of small counts; each pixel is one point.

    Args:
        values: the map, numbers or booleans.
        path: its file, for the message.

    Raises:
        InputError: it is not binary, or too much of it is marked for a fixation map.
    """
    marked = values[values != 0]
    if not np.isfinite(marked).all() or (marked < 0).any():
        raise InputError(f"{path} has values that are negative or not finite: put the binary fixation map there")
    levels = bool(marked.size) and bool((marked != marked.flat[0]).any())
    if levels and ((marked % 1 != 0).any() or marked.max() > _MOST_AT_ONE_PIXEL):
        raise InputError(
            f"{path} has {len(np.unique(marked))} levels from {marked.min():g} to {marked.max():g} and not 0 and 1, "
            "like a density map: put the binary fixation map there"
        )
    if marked.size > PIXEL_SHARE * values.size:
        raise InputError(
            f"{path} marks {marked.size} of {values.size} pixels as fixations, which is not plausible: put the binary "
            "fixation map there"
        )
    y, x = np.nonzero(values)
    return np.stack([x, y], 1).astype(np.float32)


def check_counts(rows: Float32[np.ndarray, "f 4"], dataset: str, paths: Sequence[Path]) -> None:
    """Refuses maps with more points than the viewers of a dataset can give.

    Args:
        rows: (frame, viewer, x, y) of all points.
        dataset: the dataset's key, such as "avad".
        paths: the map's file of each frame, for the message.

    Raises:
        InputError: one has more; the message names it.
    """
    most = VIEWERS[dataset] * POSITIONS_PER_VIEWER
    frames, counts = np.unique(rows[:, 0], return_counts=True)
    for frame, count in zip(frames.astype(int), counts, strict=True):
        if count > most:
            raise InputError(
                f"{paths[frame]} marks {count} fixations, more than the {most} that {VIEWERS[dataset]} viewers of "
                f"{dataset} can give in a frame: put the binary fixation map there"
            )
