"""Images with recorded maps, and images in which one thing is unlike the rest."""

import functools
import pathlib

import numpy as np

NAMES = ("astro", "coffee", "cat", "popout")


@functools.cache
def golden(shared: pathlib.Path, name: str) -> dict[str, np.ndarray]:
    """Recorded maps of the file `golden_<name>.npz`, float16 ones as float32."""
    with np.load(shared / f"parity/baselines/golden_{name}.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}
    return {key: x.astype(np.float32) if x.dtype == np.float16 else x for key, x in arrays.items()}


def odd_one_out(height: int = 64, width: int = 96) -> tuple[np.ndarray, tuple[slice, slice]]:
    """An image of equal bars but for one that lies and is red, and where that is."""
    image = np.full((height, width, 3), 0.5, np.float32)
    for top in range(4, height - 8, 16):
        for left in range(4, width - 4, 12):
            image[top : top + 8, left : left + 2] = 0.2, 0.2, 0.8
    row, column = 4 + 16, 4 + 12 * 5
    image[row : row + 8, column : column + 2] = 0.5
    image[row + 3 : row + 5, column - 3 : column + 5] = 0.8, 0.2, 0.2
    return image, (slice(row - 4, row + 12), slice(column - 7, column + 9))
