"""Tests of paired differences: how often would a gap as large as this come up if neither model were better?

The draws are videos; frames of one video are no independent draws. If two models are equally good, the sign of each
video's difference is as good as a coin's, so the exact test counts the signs under which the gap would be at least as
large (Fisher's randomisation test for pairs). With n videos its smallest p-value is 2^(1 - n): five videos cannot carry
a verdict at 5 %, and where several metrics are tested together it takes a few more.
"""

import functools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

LEVEL = 0.05
"""The accepted rate of false verdicts."""

EXACT_VIDEOS = 20
"""Up to so many videos all signs are counted; beyond, `DRAWS` of them are drawn."""

DRAWS = 100_000
SEED = 0
# Sums that differ by less than this share are equal: the same numbers add up differently in another order.
_TIE = 1e-9


def sign_flip_p(parts: Float[np.ndarray, " v"]) -> float:
    """Returns the two-sided p-value of a sum, against flips of the sign of each of its parts.

    Args:
        parts: what each video adds to the difference; a part that is zero decides nothing.

    Returns:
        The share of sign patterns whose sum is at least as far from zero as the sum of `parts`: of all patterns, or of
        those drawn and the one seen. 1 where every part is zero, or there is none.
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
    """Returns the smallest p-value that so many videos can give."""
    return 1.0 if videos < 1 else max(2.0 ** (1 - videos), 1 / (1 + DRAWS) if videos > EXACT_VIDEOS else 0.0)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Returns p-values that hold for all tests together (Holm 1979): no verdict is false with more than `LEVEL`."""
    adjusted: dict[str, float] = {}
    so_far = 0.0
    for i, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        so_far = max(so_far, min(1.0, (len(p_values) - i) * p))
        adjusted[name] = so_far
    return {name: adjusted[name] for name in p_values}
