"""Scores of 8-bit images in integer arithmetic: exact sums, and a fraction of the memory traffic of float maps."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from avsd_jax.metrics.auc import auc_judd, s_auc_of_levels
from avsd_jax.metrics.maps import chunk_sums, total

LEVEL_METRICS = ("NSS", "CC", "SIM", "AUC-J", "s-AUC")
# In a larger map the number of pixels times the sum of squares could exceed 64 bits.
MOST_PIXELS = 1 << 23


def score_levels(
    pred: UInt8[Array, "h w"],
    density: UInt8[Array, "h w"],
    fixations: Bool[Array, "h w"],
    shuffle_map: Bool[Array, "h w"],
    values: Float[np.ndarray, " levels"],
    max_fixations: int | None,
    names: Sequence[str],
) -> dict[str, Float[Array, ""]]:
    """Returns the scores of one map and its density when both are images; needs 64-bit types to be enabled.

    Args:
        pred, density: levels, of at most `MOST_PIXELS` pixels.
        fixations: the fixated pixels.
        shuffle_map: the pool of negatives of the s-AUC.
        values: the value of each level, in proportion to it, float64: the s-AUC has thresholds among these.
        max_fixations: see `auc_judd`.
        names: some of `LEVEL_METRICS`.
    """
    x, y, hit = (v.astype(jnp.int32) for v in (pred, density, fixations))
    pixels = x.size

    def whole(values: Int[Array, "h w"]) -> Int[Array, ""]:
        return chunk_sums(values).astype(jnp.int64).sum()

    def deviation(product: Int[Array, "h w"], a: Int[Array, "h w"], b: Int[Array, "h w"]) -> Float[Array, ""]:
        """Returns the sum of products of deviations from the means, times the number of pixels, without rounding."""
        return (pixels * whole(product) - whole(a) * whole(b)).astype(jnp.float64)

    def nss() -> Float[Array, ""]:
        looked = whole(hit)
        above_mean = (pixels * whole(x * hit) - looked * whole(x)).astype(jnp.float64) / pixels
        return above_mean / jnp.sqrt(deviation(x * x, x, x) / pixels / (pixels - 1)) / looked

    def cc() -> Float[Array, ""]:
        return deviation(x * y, x, y) / jnp.sqrt(deviation(x * x, x, x) * deviation(y * y, y, y))

    def sim() -> Float[Array, ""]:
        lows = [levels.min().astype(jnp.float64) for levels in (pred, density)]
        masses = [whole(v).astype(jnp.float64) - pixels * low for v, low in zip((x, y), lows, strict=True)]
        # A common denominator instead of two quotients per pixel: products and their sum are whole numbers.
        shared = total(jnp.minimum((pred - lows[0]) * masses[1], (density - lows[1]) * masses[0]))
        empty = (pred.max() == 0) | (density.max() == 0)
        flat = ((masses[0] == 0) & (pred.max() > 0)) | ((masses[1] == 0) & (density.max() > 0))
        return jnp.where(flat, jnp.nan, jnp.where(empty, 0, shared / masses[0] / masses[1]))

    metrics = {
        "NSS": nss,
        "CC": cc,
        "SIM": sim,
        "AUC-J": lambda: auc_judd(pred, fixations, max_fixations),
        "s-AUC": lambda: s_auc_of_levels(pred, jnp.asarray(values), fixations, shuffle_map, max_fixations),
    }
    return {name: metrics[name]() for name in names}
