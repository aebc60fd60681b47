"""Tests of paired differences: how likely is a difference as large as this if neither model is better?

The samples are videos; frames of one video are not independent. If two models are equally good, the sign of each
video's difference is random, so the exact test counts the sign patterns under which the difference would be at least as
large (Fisher's randomisation test for pairs). With n videos its smallest p-value is 2^(1 - n): five videos cannot be
significant at 5 %, and testing several metrics together requires a few more.
"""

import functools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

LEVEL = 0.05
"""The significance level."""

EXACT_VIDEOS = 20
"""Up to this many videos all sign patterns are enumerated; beyond, `DRAWS` of them are drawn."""

DRAWS = 100_000
SEED = 0
# Sums whose relative difference is smaller are equal: the order of summation changes the rounding.
_TIE = 1e-9


def sign_flip_p(parts: Float[np.ndarray, " v"]) -> float:
    """Returns the two-sided p-value of a sum, against flips of the sign of each of its parts.

    Args:
        parts: the contribution of each video to the difference; zeros have no effect.

    Returns:
        The fraction of sign patterns whose sum is at least as far from zero as the sum of `parts`: of all patterns, or
        of those drawn and the observed one. 1 if every part is zero, or there is none.
    """
    parts = parts[parts != 0]
    if not len(parts):
        return 1.0
    seen = abs(parts.sum()) * (1 - _TIE)
    if len(parts) > EXACT_VIDEOS:
        return float((1 + np.sum(np.abs(_signs(len(parts)) @ parts) >= seen)) / (1 + DRAWS))
    sums = parts[:1]  # the first sign is fixed: the opposite patterns mirror the others
    for part in parts[1:]:
        sums = np.concatenate([sums + part, sums - part])
    return float(np.mean(np.abs(sums) >= seen))


@functools.lru_cache(maxsize=4)
def _signs(videos: int) -> Float[np.ndarray, "draws videos"]:
    return np.random.default_rng(SEED).choice(np.array([-1.0, 1.0]), (DRAWS, videos))


def smallest_p(videos: int) -> float:
    """Returns the smallest possible p-value for a number of videos."""
    return 1.0 if videos < 1 else max(2.0 ** (1 - videos), 1 / (1 + DRAWS) if videos > EXACT_VIDEOS else 0.0)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Returns p-values corrected for all tests together (Holm 1979): the family-wise error rate is `LEVEL`."""
    adjusted: dict[str, float] = {}
    so_far = 0.0
    for i, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        so_far = max(so_far, min(1.0, (len(p_values) - i) * p))
        adjusted[name] = so_far
    return {name: adjusted[name] for name in p_values}
