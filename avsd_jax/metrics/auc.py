"""Areas under ROC curves, as exact rank statistics: no sampling, no jitter."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from avsd_jax.errors import InputError
from avsd_jax.metrics.maps import (
    FixationMaps,
    Maps,
    Scores,
    as_float,
    check_shapes,
    chunk_sums,
    count,
    fixated,
    has_nan,
    is_constant,
    low_and_span,
    normalised,
    over_maps,
)
from avsd_jax.metrics.ranks import (
    by_lengths,
    count_bits,
    is_levels,
    pack_bits,
    pairs_of,
    positions,
    rank_statistic,
    rank_statistic_of,
    score_dtype,
    take,
)

# Up to this many positives and negatives are listed for a binned statistic; the shorter list is twice as fast.
QUICK_POOLS = (4096, 16384)


@functools.partial(jax.jit, static_argnames="max_fixations")
def auc_judd(pred: Maps, fixations: FixationMaps, max_fixations: int | None = None) -> Scores:
    """Computes the AUC of fixated against all other pixels, thresholds at the fixated values (MIT `AUC_Judd`).

    The MATLAB staircase joins (0, 0), one point per fixated value and (1, 1). Its area is the rank statistic
    P(fixated > other) + P(tie) / 2, plus half a step: `0.5 / n` times the share of other pixels above the
    lowest fixated value m. MATLAB breaks ties by adding random numbers below 1e-7; the expectation of that is
    computed here, where a tie at m counts k / (k + 1), k being the number of fixated pixels at m.

    Args:
        pred: saliency of any scale, `[..., H, W]`; levels of 8 or 16 bits are the fastest.
        fixations: positive at fixated pixels, same shape.
        max_fixations: an upper bound on the fixated pixels of a map; without one, any number is allowed, and up
            to 1024 are fast on a CPU.

    Returns:
        `[...]`. NaN if there is no fixation, if every pixel is fixated, and (a wrong bound must not give a score) if
        more than `max_fixations` are. A constant map scores `0.5 + 0.5 / (n + 1)`, a map that is constant up to
        rounding noise NaN.

    Raises:
        InputError: the shapes differ.
    """
    check_shapes(pred=pred, fixations=fixations)
    if not is_levels(pred):
        (pred,) = as_float(pred)
    return over_maps(functools.partial(_judd, max_fixations=max_fixations), pred, fixated(fixations))


@jax.jit
def auc_borji(pred: Maps, fixations: FixationMaps) -> Scores:
    """Computes the AUC of fixated pixels against pixels drawn from the whole map (MIT `AUC_Borji`).

    MATLAB averages 100 random draws of n pixels, the fixated ones included, with thresholds 0.1 apart on the
    min-max normalised map. The expectation is the rank statistic of the map in 11 bins against all pixels.

    Args:
        pred: saliency of any scale, `[..., H, W]`.
        fixations: positive at fixated pixels, same shape.

    Returns:
        `[...]`; NaN if fewer than two pixels are fixated (as in MATLAB) or the prediction is constant.

    Raises:
        InputError: the shapes differ.
    """
    check_shapes(pred=pred, fixations=fixations)
    (pred,) = as_float(pred)

    def statistic(x: Float[Array, "h w"], hit: Bool[Array, "h w"]) -> Float[Array, ""]:
        value = binned_of(x, hit, jnp.full(hit.shape, True), x.dtype)
        return jnp.where(count(hit) > 1, value, jnp.nan)

    return over_maps(statistic, pred, fixated(fixations))


@functools.partial(jax.jit, static_argnames=("bins", "max_fixations"))
def s_auc(
    pred: Maps,
    fixations: FixationMaps,
    shuffle_map: FixationMaps,
    bins: int | None = 11,
    max_fixations: int | None = None,
) -> Scores:
    """Computes the AUC of fixated pixels against pixels fixated at other times (MIT `AUC_shuffled`, STAViS's pool).

    MATLAB averages 100 random subsets of the pool, with thresholds 0.1 apart on the min-max normalised map.
    Each subset's area is the rank statistic of the map in 11 bins, which is linear in the negatives, so that
    the expectation is the same statistic over the whole pool.

    Args:
        pred: saliency of any scale, `[..., H, W]`.
        fixations: positive at fixated pixels, same shape.
        shuffle_map: positive at the pool of negatives, same shape. It is used as given: clear the pixels that
            are fixated in this frame first, as the published protocol does.
        bins: 11 is the published statistic; None ranks the values themselves.
        max_fixations: as for `auc_judd`.

    Returns:
        `[...]`; NaN if there is no fixation, the pool is empty or the prediction is constant, and if more pixels
        than `max_fixations` are fixated.

    Raises:
        InputError: the shapes differ, or `bins` is less than 2.
    """
    check_shapes(pred=pred, fixations=fixations, shuffle_map=shuffle_map)
    if bins is not None and bins < 2:
        raise InputError(f"bins={bins}: give 2 or more, or None to rank the values themselves")
    (pred,) = as_float(pred)

    def statistic(x: Float[Array, "h w"], hit: Bool[Array, "h w"], pool: Bool[Array, "h w"]) -> Float[Array, ""]:
        if bins is not None:
            return binned_of(x, hit, pool, x.dtype, bins, max_fixations)
        undefined = is_constant(x) | has_nan(x, x.dtype)
        return jnp.where(undefined, jnp.nan, rank_statistic(x, hit, pool, max_fixations))

    return over_maps(statistic, pred, fixated(fixations), fixated(shuffle_map))


def binned_of(
    x: Num[Array, "h w"],
    hit: Bool[Array, "h w"],
    pool: Bool[Array, "h w"],
    dtype: Any,
    bins: int = 11,
    max_fixations: int | None = None,
) -> Float[Array, ""]:
    """Computes `s_auc` of one map in its type or a wider one."""
    return jnp.where(has_nan(x, dtype), jnp.nan, _binned(x, hit, pool, bins, dtype, max_fixations))


def s_auc_of_levels(
    pixels: Int[Array, " levels"],
    values: Float[Array, " levels"],
    hits: Int[Array, " levels"],
    pool: Int[Array, " levels"],
) -> Float[Array, ""]:
    """Computes `s_auc` of one image whose levels represent ascending values, from the pixels of each level."""
    low = take(values, jnp.argmax(pixels > 0))
    high = take(values, values.size - 1 - jnp.argmax(pixels[::-1] > 0))
    span = jnp.where(high > low, high - low, jnp.nan)
    unit = normalised(values, low, span)
    thresholds = _thresholds(11, values.dtype)
    # Levels reach the thresholds in turn, so that the positives above a bin are a sum over levels.
    reached = unit[:, None] >= thresholds
    reaching = jnp.concatenate([hits.sum()[None], (hits[:, None] * reached).sum(axis=0), jnp.zeros(1, hits.dtype)])
    bins = reached.sum(axis=1)
    doubled = (pool.astype(jnp.int64) * (take(reaching, bins) + take(reaching, bins + 1))).sum()
    n, m = (counts.sum().astype(values.dtype) for counts in (hits, pool))
    return jnp.where((n > 0) & (m > 0) & jnp.isfinite(span), doubled.astype(values.dtype) / 2 / n / m, jnp.nan)


def judd_of(
    keys: Num[Array, "h w"], x: Num[Array, "h w"], hit: Bool[Array, "h w"], max_fixations: int | None, dtype: Any
) -> Float[Array, ""]:
    """Computes `auc_judd` of one map, whose pixels are in the order of the keys, in its type or a wider one."""
    noise = is_constant(x, dtype) & (x.max() > x.min())
    return jnp.where(noise | has_nan(x, dtype), jnp.nan, _area(keys, hit, max_fixations, dtype))


def _judd(x: Num[Array, "h w"], hit: Bool[Array, "h w"], max_fixations: int | None) -> Float[Array, ""]:
    dtype = score_dtype(x)
    return _area(x, hit, max_fixations, dtype) if is_levels(x) else judd_of(x, x, hit, max_fixations, dtype)


def _area(x: Num[Array, "h w"], hit: Bool[Array, "h w"], max_fixations: int | None, dtype: Any) -> Float[Array, ""]:
    """Returns the area under the staircase for any map."""
    n = count_bits(pack_bits(hit))
    pairs = pairs_of(x, hit, n, ~hit, max_fixations, dtype)
    others = x.size - n
    statistic = rank_statistic_of(x, pairs, n, others, max_fixations)
    return statistic + half_step(n, pairs.at_lowest, pairs.above, pairs.level, others, dtype)


def half_step(
    n: Int[Array, ""],
    k: Int[Array, ""],
    above: Int[Array, ""],
    level: Int[Array, ""],
    others: Int[Array, ""],
    dtype: Any,
) -> Float[Array, ""]:
    """Returns what the staircase of `auc_judd` adds to the rank statistic.

    Of n fixated pixels k are at the lowest fixated value; of the others some are above it and some at its level.
    """
    n, k, above, level, others = (c.astype(dtype) for c in (n, k, above, level, others))
    return 0.5 / n * (above + k / (k + 1) * level) / others


def _binned(
    x: Num[Array, "h w"],
    positive: Bool[Array, "h w"],
    negative: Bool[Array, "h w"],
    bins: int,
    dtype: Any,
    max_positives: int | None = None,
) -> Float[Array, ""]:
    """Computes the rank statistic of a min-max normalised map in bins, the last of which only holds 1.

    If there are few positive and negative pixels, it only reads those, apart from the range of the map.
    """
    low, span = low_and_span(x, dtype)
    thresholds = _thresholds(bins, dtype)

    def statistic(
        values: Num[Array, "*p"], positive: Bool[Array, "*p"], negative: Bool[Array, "*p"]
    ) -> tuple[Int[Array, ""], Float[Array, ""]]:
        unit = normalised(values.astype(dtype), low, span)
        n, m = count(positive), count(negative)
        reaching = jax.vmap(lambda threshold: count(positive & (unit >= threshold)))(thresholds)
        # Doubled: a negative in bin b loses to the positives above b, and half to those in b. This is a sum over
        # the thresholds that the negative reaches, so that one pass over the pixels sums all negatives.
        reaching = jnp.concatenate([n[None], reaching, jnp.zeros(1, jnp.int32)])
        losses = jnp.broadcast_to(reaching[0] + reaching[1], unit.shape)
        for threshold, step in zip(thresholds, reaching[2:] - reaching[:-2], strict=True):
            losses += jnp.where(unit >= threshold, step, 0)
        doubled = chunk_sums(jnp.where(negative, losses, 0)).astype(dtype).sum()
        return n, doubled / 2 / n.astype(dtype) / m.astype(dtype)

    looked_at = pack_bits(positive | negative)
    listed = count_bits(looked_at)

    def of_few(bound: int) -> tuple[Int[Array, ""], Float[Array, ""]]:
        at = positions(looked_at, bound)
        known, at = at < x.size, jnp.minimum(at, x.size - 1)
        values, positives, negatives = (take(pixels.ravel(), at) for pixels in (x, positive, negative))
        return statistic(values, positives & known, negatives & known)

    n, value = by_lengths(listed, x.size, of_few, lambda: statistic(x, positive, negative), QUICK_POOLS)
    bounded = True if max_positives is None else n <= max_positives
    return jnp.where(bounded & jnp.isfinite(span), value, jnp.nan)


def _thresholds(bins: int, dtype: np.dtype) -> Float[np.ndarray, " thresholds"]:
    """Returns the lower edges of the bins above the first: i * 0.1 in double precision, as Octave rounds 0:0.1:1.

    That matters to values exactly on a threshold, such as an image's level 153 / 255 = 0.6: it lies below 6 * 0.1
    and does not reach it. Float32 cannot distinguish the two, so the threshold is moved up by one number there.
    """
    i = np.arange(1, bins)
    decimals, products = i / (bins - 1), i * (1 / (bins - 1))
    rounded = products.astype(dtype)
    merged = (decimals < products) & (decimals.astype(dtype) == rounded)
    return np.where(merged, np.nextafter(rounded, rounded.dtype.type(np.inf)), rounded)
