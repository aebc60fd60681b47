"""Areas under ROC curves, as exact rank statistics: no sampling, no jitter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

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
    is_constant,
    min_max,
    over_maps,
)
from avsd_jax.metrics.ranks import few_or_many, positions, rank_statistic


@functools.partial(jax.jit, static_argnames="max_fixations")
def auc_judd(pred: Maps, fixations: FixationMaps, max_fixations: int | None = None) -> Scores:
    """AUC of fixated against all other pixels, thresholds at the fixated values (MIT `AUC_Judd`).

    The MATLAB staircase joins (0, 0), one point per fixated value and (1, 1). Its area is the rank statistic
    P(fixated > other) + P(tie) / 2, plus half a step: `0.5 / n` times the share of other pixels above the
    lowest fixated value m. MATLAB breaks ties by adding random numbers below 1e-7; the expectation of that is
    computed here, where a tie at m counts k / (k + 1), k being the number of fixated pixels at m.

    Args:
        pred: saliency of any scale, `[..., H, W]`.
        fixations: positive where somebody looked, same shape.
        max_fixations: an upper bound on the fixated pixels of a map; without one, any number is right, and up
            to 1024 are fast on a CPU.

    Returns:
        `[...]`. NaN where there is no fixation, where every pixel is fixated, and (a wrong bound must not
        pass for a score) where more than `max_fixations` are. A constant map scores `0.5 + 0.5 / (n + 1)`, a
        map that is constant but for rounding noise NaN.

    Raises:
        InputError: the shapes differ.
    """
    check_shapes(pred=pred, fixations=fixations)
    (pred,) = as_float(pred)
    return over_maps(functools.partial(_judd, max_fixations=max_fixations), pred, fixated(fixations))


@jax.jit
def auc_borji(pred: Maps, fixations: FixationMaps) -> Scores:
    """AUC of fixated pixels against pixels drawn from the whole map (MIT `AUC_Borji`).

    MATLAB averages 100 random draws of n pixels, the fixated ones included, with thresholds 0.1 apart on the
    map stretched to [0, 1]. The expectation is the rank statistic of the map in 11 bins against all pixels.

    Args:
        pred: saliency of any scale, `[..., H, W]`.
        fixations: positive where somebody looked, same shape.

    Returns:
        `[...]`; NaN where fewer than two pixels are fixated (as in MATLAB) or the prediction is constant.

    Raises:
        InputError: the shapes differ.
    """
    check_shapes(pred=pred, fixations=fixations)
    (pred,) = as_float(pred)

    def statistic(x: Float[Array, "h w"], hit: Bool[Array, "h w"]) -> Float[Array, ""]:
        return jnp.where(count(hit) > 1, _binned(x, hit, jnp.full(hit.shape, True), 11), jnp.nan)

    return over_maps(statistic, pred, fixated(fixations))


@functools.partial(jax.jit, static_argnames=("bins", "max_fixations"))
def s_auc(
    pred: Maps,
    fixations: FixationMaps,
    shuffle_map: FixationMaps,
    bins: int | None = 11,
    max_fixations: int | None = None,
) -> Scores:
    """AUC of fixated pixels against pixels fixated at other times (MIT `AUC_shuffled`, STAViS' pool).

    MATLAB averages 100 random subsets of the pool, with thresholds 0.1 apart on the map stretched to [0, 1].
    Each subset's area is the rank statistic of the map in 11 bins, which is linear in the negatives, so that
    the expectation is the same statistic over the whole pool.

    Args:
        pred: saliency of any scale, `[..., H, W]`.
        fixations: positive where somebody looked, same shape.
        shuffle_map: positive at the pool of negatives, same shape. It is used as given: clear the pixels that
            are fixated in this frame before, as the published protocol does.
        bins: 11 is the published statistic; None ranks the values themselves.
        max_fixations: as for `auc_judd`.

    Returns:
        `[...]`; NaN where there is no fixation, the pool is empty or the prediction is constant, and where more
        pixels than `max_fixations` are fixated.

    Raises:
        InputError: the shapes differ, or `bins` is less than 2.
    """
    check_shapes(pred=pred, fixations=fixations, shuffle_map=shuffle_map)
    if bins is not None and bins < 2:
        raise InputError(f"bins={bins}: give 2 or more, or None to rank the values themselves")
    (pred,) = as_float(pred)

    def statistic(x: Float[Array, "h w"], hit: Bool[Array, "h w"], pool: Bool[Array, "h w"]) -> Float[Array, ""]:
        if bins is not None:
            return _binned(x, hit, pool, bins, max_fixations)
        return jnp.where(is_constant(x), jnp.nan, rank_statistic(x, hit, pool, max_fixations))

    return over_maps(statistic, pred, fixated(fixations), fixated(shuffle_map))


def _judd(x: Float[Array, "h w"], hit: Bool[Array, "h w"], max_fixations: int | None) -> Float[Array, ""]:
    n = count(hit)
    lowest = jnp.where(hit, x, jnp.inf).min()
    at_lowest, above = count(x == lowest), count(x > lowest)
    k = count(hit & (x == lowest))
    # Every fixated pixel is at the lowest fixated value or above.
    level, above, others = at_lowest - k, above - (n - k), x.size - n
    n, others, above, level, k = (c.astype(x.dtype) for c in (n, others, above, level, k))
    half_step = 0.5 / n * (above + k / (k + 1) * level) / others
    noise = is_constant(x) & (x.max() > x.min())
    return jnp.where(noise, jnp.nan, rank_statistic(x, hit, ~hit, max_fixations) + half_step)


def _binned(
    x: Float[Array, "h w"],
    positive: Bool[Array, "h w"],
    negative: Bool[Array, "h w"],
    bins: int,
    max_positives: int | None = None,
) -> Float[Array, ""]:
    """The rank statistic of a map stretched to [0, 1] and cut into bins, the last of which holds 1 alone."""
    unit = min_max(x)
    thresholds = _thresholds(bins, unit.dtype)
    n, m = count(positive), count(negative)
    reaching = few_or_many(
        n,
        max_positives,
        unit.size,
        lambda few: _reaching_of_few(unit, positive, n, thresholds, few),
        lambda: _reaching_of_many(unit, positive, thresholds),
    )
    # Doubled: a negative in bin b loses to the positives above b, and half to those in b. That is a sum over
    # the thresholds which the negative reaches, so that one pass over the map adds up all negatives.
    reaching = jnp.concatenate([n[None], reaching, jnp.zeros(1, jnp.int32)])
    steps = reaching[2:] - reaching[:-2]
    losses = jnp.broadcast_to(reaching[0] + reaching[1], unit.shape)
    for threshold, step in zip(thresholds, steps, strict=True):
        losses += jnp.where(unit >= threshold, step, 0)
    doubled = chunk_sums(jnp.where(negative, losses, 0)).astype(unit.dtype).sum()
    value = doubled / 2 / n.astype(unit.dtype) / m.astype(unit.dtype)
    bounded = True if max_positives is None else n <= max_positives
    defined = bounded & ~is_constant(x) & jnp.isfinite(x.max() - x.min())
    return jnp.where(defined, value, jnp.nan)


def _thresholds(bins: int, dtype: np.dtype) -> Float[np.ndarray, " thresholds"]:
    """Where the bins above the lowest begin: i * 0.1 in double precision, as Octave's 0:0.1:1 rounds it.

    That matters to values exactly on a threshold, such as a picture's level 153 / 255 = 0.6: it lies below 6 * 0.1
    and does not reach it. Float32 cannot tell the two apart, so the threshold is moved up by one number there.
    """
    i = np.arange(1, bins)
    decimals, products = i / (bins - 1), i * (1 / (bins - 1))
    rounded = products.astype(dtype)
    merged = (decimals < products) & (decimals.astype(dtype) == rounded)
    return np.where(merged, np.nextafter(rounded, rounded.dtype.type(np.inf)), rounded)


def _reaching_of_few(
    unit: Float[Array, "h w"],
    mask: Bool[Array, "h w"],
    n: Int[Array, ""],
    thresholds: Float[np.ndarray, " thresholds"],
    bound: int,
) -> Int[Array, " thresholds"]:
    """How many of n masked pixels, at most `bound`, reach each threshold."""
    at = jnp.minimum(positions(mask, bound), unit.size - 1)
    reached = unit.ravel()[at][:, None] >= thresholds
    return (reached & (jnp.arange(bound) < n)[:, None]).sum(axis=0, dtype=jnp.int32)


def _reaching_of_many(
    unit: Float[Array, "h w"], mask: Bool[Array, "h w"], thresholds: Float[np.ndarray, " thresholds"]
) -> Int[Array, " thresholds"]:
    """How many masked pixels reach each threshold."""
    return jnp.stack([count(mask & (unit >= threshold)) for threshold in thresholds])
