"""Scores of 8-bit images from the histogram of their pairs of levels: one pass over the maps, and exact sums."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from avsd_jax.metrics.auc import half_step, s_auc_of_levels
from avsd_jax.metrics.maps import lesser
from avsd_jax.metrics.ranks import QUICK, by_count, count_bits, pack_bits, positions, values_at

LEVEL_METRICS = ("NSS", "CC", "SIM", "KL", "AUC-J", "s-AUC")
# In a larger map the number of pixels times the sum of squares could exceed 64 bits.
MOST_PIXELS = 1 << 23
LEVELS = 256
# Up to this many pixels of the shuffle pool are listed.
QUICK_POOL = 4096


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
    index = pred.astype(jnp.int32)
    pairs = histogram((index * LEVELS + density).ravel(), LEVELS**2).reshape(LEVELS, LEVELS)
    level = jnp.arange(LEVELS, dtype=jnp.int64)
    of_pred, of_density = pairs.sum(axis=1), pairs.sum(axis=0)
    # The density that lies on each level of the prediction.
    share = (pairs * level.astype(jnp.int32)).sum(axis=1)
    hits = marked_levels(index, fixations, max_fixations or QUICK)
    looked = hits.sum(dtype=jnp.int32)
    pixels, x, y = pred.size, (of_pred * level).sum(), (of_density * level).sum()

    def deviation(product: Int[Array, ""], a: Int[Array, ""], b: Int[Array, ""]) -> Float[Array, ""]:
        """Returns the sum of products of deviations from the means, times the number of pixels, without rounding."""
        return (pixels * product - a * b).astype(jnp.float64)

    def nss() -> Float[Array, ""]:
        n = hits.sum()
        above_mean = (pixels * (hits * level).sum() - n * x).astype(jnp.float64) / pixels
        return above_mean / jnp.sqrt(deviation((of_pred * level**2).sum(), x, x) / pixels / (pixels - 1)) / n

    def cc() -> Float[Array, ""]:
        squares = [deviation((h * level**2).sum(), s, s) for h, s in ((of_pred, x), (of_density, y))]
        return deviation((share * level).sum(), x, y) / jnp.sqrt(squares[0] * squares[1])

    def sim() -> Float[Array, ""]:
        lows = [jnp.argmax(h > 0) for h in (of_pred, of_density)]
        masses = [(s - pixels * low).astype(jnp.float64) for s, low in zip((x, y), lows, strict=True)]
        # A common denominator instead of quotients: products and their sum are whole numbers.
        parts = [
            (jnp.arange(LEVELS, dtype=jnp.float64) - low.astype(jnp.float64)) * mass
            for low, mass in zip(lows, masses[::-1], strict=True)
        ]
        shared = (pairs * lesser(parts[0][:, None], parts[1][None])).sum()
        empty = (x == 0) | (y == 0)
        flat = ((masses[0] == 0) & (x > 0)) | ((masses[1] == 0) & (y > 0))
        return jnp.where(flat, jnp.nan, jnp.where(empty, 0, shared / masses[0] / masses[1]))

    def kl() -> Float[Array, ""]:
        # The epsilon beside q / p in the logarithm adds less than 2^-52 to the sum.
        p = level / jnp.maximum(x, 1) + 2.0**-52
        q = level / jnp.maximum(y, 1).astype(jnp.float64)
        entropy = (of_density * q * jnp.log(jnp.maximum(q, 2.0**-52))).sum()
        return entropy - (share * jnp.log(p)).sum() / jnp.maximum(y, 1)

    def judd() -> Float[Array, ""]:
        others = of_pred - hits
        n, m = hits.sum(), others.sum()
        wins = (others.astype(jnp.int64) * (2 * (n - jnp.cumsum(hits)) + hits)).sum().astype(jnp.float64) / 2
        lowest = jnp.argmax(hits > 0)
        above, tied = jnp.where(level > lowest, others, 0).sum(), others[lowest]
        bounded = True if max_fixations is None else looked <= max_fixations
        value = wins / n / m + half_step(n, hits[lowest], above, tied, m, jnp.float64)
        return jnp.where(bounded & (n > 0) & (m > 0), value, jnp.nan)

    def shuffled() -> Float[Array, ""]:
        pool = marked_levels(index, shuffle_map, QUICK_POOL)
        bounded = True if max_fixations is None else looked <= max_fixations
        return jnp.where(bounded, s_auc_of_levels(of_pred, jnp.asarray(values), hits, pool), jnp.nan)

    metrics = {"NSS": nss, "CC": cc, "SIM": sim, "KL": kl, "AUC-J": judd, "s-AUC": shuffled}
    return {name: metrics[name]() for name in names}


def histogram(index: Int[Array, " n"], size: int) -> Int[Array, " size"]:
    """Counts each index below the size; others are ignored."""
    return jnp.zeros(size, jnp.int32).at[index].add(1, mode="drop")


def marked_levels(index: Int[Array, "h w"], marked: Bool[Array, "h w"], quick: int) -> Int[Array, " levels"]:
    """Counts the levels of marked pixels, which are listed if they are at most `quick`."""
    words = pack_bits(marked)

    def of_few(most: int) -> Int[Array, " levels"]:
        return histogram(values_at(index, positions(words, most), LEVELS), LEVELS)

    def of_all() -> Int[Array, " levels"]:
        return histogram(jnp.where(marked, index, LEVELS).ravel(), LEVELS)

    return by_count(count_bits(words), None, index.size, of_few, of_all, quick)
