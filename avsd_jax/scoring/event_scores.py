"""The scores of the challenges AIM 2024 and NTIRE 2026 as their `bench.py` computes them: a point counts as often as it
was fixated.

Computed on the host in double precision, because OpenCV's resize is part of the definition. What differs from the MIT
definitions of `avsd_jax.metrics`:

  maps      prediction and density are min-max normalised by max - min + 2^-23, the prediction at its own size and
            before it is resized to the density's by OpenCV (bilinear, no antialiasing); a constant map becomes 0.
  NSS       the standard deviation is over all pixels, plus 1e-7; a fixation counts as often as it occurs.
  SIM       each map is divided by its sum + 1e-7.
  CC        1e-7 is added to both deviations and in the root of the denominator.
  AUC-Judd  one threshold per fixation, repeated ones included, in descending order; no jitter. The share of false
            positives at the i-th is (pixels at or above it - i) / (pixels - 2): the script means to subtract the
            distinct fixations, but counts distinct columns of the list [n, 2]: 2, or 1 if row and column agree in all
            of them. With ties and repeats the curve may turn back; its trapezoids are summed as they come.

A constant prediction therefore has scores: CC, SIM and NSS 0. A frame without fixations has none; the script stops
there.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from jaxtyping import Float64, Int, Num, UInt8, UInt16

METRICS = ("CC", "SIM", "NSS", "AUC-J")
"""In the order of the script."""

_RANGE_EPSILON = float(np.finfo(np.float32).eps)
_EPSILON = 1e-7
# A map given as an array is scored as an image of 16 bits without the rounding would be.
_HIGHEST = 65535.0


def score(
    prediction: Num[np.ndarray, "h w"],
    density: UInt8[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"],
    points: Int[np.ndarray, "n 2"],
    names: Sequence[str] = METRICS,
) -> dict[str, float]:
    """Computes the scores of one frame.

    Args:
        prediction: a map of any size; levels of 8 or 16 bits, or other numbers of any scale.
        density: the ground truth, levels.
        points: fixated pixels (x, y) of the density, each as often as it was fixated.
        names: some of `METRICS`.

    Returns:
        Name -> value; NaN if there is no fixation, or the prediction is not finite.
    """
    if not len(points) or not np.isfinite(prediction).all():
        return dict.fromkeys(names, float("nan"))
    p, truth = to_ground_truth(prediction, density.shape), normalised(density)
    at = p[points[:, 1], points[:, 0]]
    metrics: dict[str, Callable[[], float]] = {
        "CC": lambda: _correlation(_standard(p), _standard(truth)),
        "SIM": lambda: np.minimum(p / (p.sum() + _EPSILON), truth / (truth.sum() + _EPSILON)).sum(),
        "NSS": lambda: ((at - p.mean()) / (p.std() + _EPSILON)).mean(),
        "AUC-J": lambda: _area(p, at, len(np.unique(points, axis=1).T)),
    }
    return {name: float(metrics[name]()) for name in names}


def to_ground_truth(prediction: Num[np.ndarray, "h w"], size: tuple[int, int]) -> Float64[np.ndarray, "H W"]:
    """Normalises a map and resizes it to (H, W)."""
    unit = normalised(prediction)
    return unit if unit.shape == size else cv2.resize(unit, size[::-1], interpolation=cv2.INTER_LINEAR)


def normalised(x: Num[np.ndarray, "h w"]) -> Float64[np.ndarray, "h w"]:
    """Normalises a map to [0, 1] by its minimum and range; a constant map becomes 0."""
    levels = x.dtype in (np.uint8, np.uint16)
    x = x.astype(np.float64)
    if not levels:
        x = x / np.abs(x).max() if x.any() else x  # so that no range is infinite
        low, span = x.min(), x.max() - x.min()
        x = (x - low) * (_HIGHEST / span) if span > 0 else np.zeros_like(x)
    low, high = x.min(), x.max()
    return (x - low) / (high - low + _RANGE_EPSILON)


def _standard(x: Float64[np.ndarray, "h w"]) -> Float64[np.ndarray, "h w"]:
    return (x - x.mean()) / (x.std() + _EPSILON)


def _correlation(a: Float64[np.ndarray, "h w"], b: Float64[np.ndarray, "h w"]) -> float:
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + _EPSILON)


def _area(x: Float64[np.ndarray, "h w"], at: Float64[np.ndarray, " n"], subtracted: int) -> float:
    """Returns the area under the staircase of the fixated values `at`."""
    thresholds, which = np.unique(at, return_inverse=True)
    reached = np.searchsorted(thresholds, x[x >= thresholds[0]], side="right")
    pixels = np.bincount(reached, minlength=len(thresholds) + 1)[1:][::-1].cumsum()[::-1]
    above = np.sort(pixels[which])  # the fewest pixels are above the highest threshold
    number = np.arange(1, len(at) + 1)
    hits = np.concatenate([[0], number / len(at), [1]])
    false = np.concatenate([[0], (above - number) / (x.size - subtracted), [1]])
    return (np.diff(false) * (hits[1:] + hits[:-1]) / 2).sum()
