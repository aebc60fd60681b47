"""Density maps of fixations: a Gaussian at every point, with equal weights, divided by the peak."""

from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

# In standard deviations, the default of scipy.ndimage.gaussian_filter.
TRUNCATE = 4.0
# Of the screens on which videos were shown unscaled: DIEM's has 20 inches at 0.9 m, and one reader of Coutrot's second
# set states 26. The distance or size of the others' is not known.
PIXELS_PER_DEGREE = {"diem": 50.0, "coutrot2": 26.0}
# Near the values of published tools: 20 of 720 pixels, 37.5 of 1280, 12.9 of 640, 60 of 1280.
SHARE_OF_WIDTH = 0.03


def sigma_of(dataset: str, width: int) -> float:
    """Returns the standard deviation in pixels: a degree of visual angle where it is known, else a share of the image's
    width.

    Args:
        dataset: its key, such as "diem".
        width: of the image in the size in which it was shown.
    """
    return PIXELS_PER_DEGREE.get(dataset, SHARE_OF_WIDTH * width)


def bells(
    centres: Float[np.ndarray, " k"], size: int, sigma: float, truncate: float = np.inf
) -> Float[np.ndarray, "k {size}"]:
    """Returns one row of a Gaussian of height 1 per centre, zero beyond `truncate` sigma."""
    distance = (np.arange(size, dtype=np.float32) - centres[:, None]) / np.float32(sigma)
    return np.where(np.abs(distance) <= truncate, np.exp(-0.5 * distance**2), np.float32(0))


def density_map(
    points: Float[np.ndarray, "k 2"], plane: tuple[int, int], sigma: float
) -> UInt8[np.ndarray, "{plane[0]} {plane[1]}"]:
    """Computes the density map of points: peak 255, all zero if there is no point.

    A Gaussian is a product of one in x and one in y, so that the sum over points is one product of matrices: exact for
    points between pixels, and a hundred times quicker than blurring an image of 1280x720 by a Gaussian of 50.

    Args:
        points: (x, y) in pixels of the plane, pixel centres at whole numbers.
        plane: (height, width) of the map.
        sigma: standard deviation, pixels; both axes are cut at `TRUNCATE` of them.
    """
    height, width = plane
    points = points.astype(np.float32)
    total = bells(points[:, 1], height, sigma, TRUNCATE).T @ bells(points[:, 0], width, sigma, TRUNCATE)
    peak = float(total.max())
    # Rounds as numpy does, in a hundredth of the time.
    return cv2.convertScaleAbs(total, alpha=255 / peak if peak > 0 else 0)


def density_maps(
    rows: Float32[np.ndarray, "f 4"], num_frames: int, plane: tuple[int, int], sigma: float
) -> Iterator[UInt8[np.ndarray, "h w"]]:
    """Yields the map of each frame; memory holds one.

    Args:
        rows: (frame, viewer, x, y), frames ascending from 0.
        num_frames: number of maps.
        plane: (height, width) of the maps.
        sigma: as for `density_map`.
    """
    borders = np.searchsorted(rows[:, 0], np.arange(num_frames + 1))
    for first, last in zip(borders[:-1], borders[1:], strict=True):
        yield density_map(rows[first:last, 2:], plane, sigma)
