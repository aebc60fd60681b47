"""Areas under ROC curves, as exact rank statistics: no sampling, no jitter."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from avsd_jax.metrics.maps import FixationMaps, Maps, Scores, as_float, fixated, is_constant, min_max


def auc_judd(pred: Maps, fixations: FixationMaps, max_fixations: int | None = None) -> Scores:
    """AUC of fixated against all other pixels, thresholds at the fixated values (MIT `AUC_Judd`).

    The MATLAB staircase joins (0, 0), one point per fixated value and (1, 1). Its area is the rank statistic
    P(fixated > other) + P(tie) / 2, plus half a step: `0.5 / n` times the share of other pixels above the
    lowest fixated value m. MATLAB breaks ties by adding random numbers below 1e-7; the expectation of that is
    computed here, where a tie at m counts k / (k + 1), k being the number of fixated pixels at m.

    Args:
        pred: saliency of any scale, `[..., H, W]`.
        fixations: positive where somebody looked, same shape.
        max_fixations: an upper bound on the fixated pixels of a map, which makes it fast; without one, any
            number.

    Returns:
        `[...]`. NaN where there is no fixation, where every pixel is fixated, and (a wrong bound must not
        pass for a score) where more than `max_fixations` are. A constant map scores `0.5 + 0.5 / (n + 1)`, a
        map that is constant but for rounding noise NaN.
    """
    (pred,) = as_float(pred)
    noise = is_constant(pred) & (pred.max(axis=(-2, -1)) > pred.min(axis=(-2, -1)))
    values = _over_maps(lambda x, hit: _judd(x, hit, max_fixations), pred, fixated(fixations))
    return jnp.where(noise, jnp.nan, values)


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
        max_fixations: as for `auc_judd`; used with `bins=None` only.

    Returns:
        `[...]`; NaN where there is no fixation, the pool is empty or the prediction is constant.
    """
    (pred,) = as_float(pred)
    unit = min_max(pred)
    hit, pool = fixated(fixations), fixated(shuffle_map)
    if bins is None:
        return _over_maps(lambda x, h, p: _rank_statistic(x, h, p, max_fixations), unit, hit, pool)
    # i * 0.1 in double precision is how Octave's 0:0.1:1 rounds; it matters to values exactly on a threshold.
    thresholds = np.arange(1, bins) * (1 / (bins - 1))
    return _over_maps(lambda x, h, p: _binned(x, h, p, thresholds), unit, hit, pool)


def _over_maps(statistic: Callable[..., Float[Array, ""]], *maps: Array) -> Scores:
    """Applies a function of single maps to every map of a batch.

    One at a time on a CPU, where a map that stays in the cache and a gather without batch index are some five
    times faster; all at once on an accelerator.
    """
    lead = maps[0].shape[:-2]
    flat = tuple(m.reshape(-1, *m.shape[-2:]) for m in maps)
    values = jax.lax.platform_dependent(
        *flat,
        cpu=lambda *xs: jax.lax.map(lambda one: statistic(*one), xs),
        default=lambda *xs: jax.vmap(statistic)(*xs),
    )
    return values.reshape(lead)


def _judd(x: Float[Array, "h w"], hit: Bool[Array, "h w"], max_fixations: int | None) -> Float[Array, ""]:
    n = hit.sum(dtype=jnp.int32)
    others = x.size - n
    lowest = jnp.where(hit, x, jnp.inf).min()
    above = (~hit & (x > lowest)).sum(dtype=jnp.int32)
    level = (~hit & (x == lowest)).sum(dtype=jnp.int32)
    k = (hit & (x == lowest)).sum(dtype=jnp.int32)
    n, others, above, level, k = (c.astype(x.dtype) for c in (n, others, above, level, k))
    half_step = 0.5 / n * (above + k / (k + 1) * level) / others
    return _rank_statistic(x, hit, ~hit, max_fixations) + half_step


def _rank_statistic(
    x: Float[Array, "h w"],
    positive: Bool[Array, "h w"],
    negative: Bool[Array, "h w"],
    max_positives: int | None,
) -> Float[Array, ""]:
    """P(positive > negative) + P(tie) / 2 over all pairs, in O(pixels * log(positives))."""
    n, m = positive.sum(dtype=jnp.int32), negative.sum(dtype=jnp.int32)
    bound = x.size if max_positives is None else min(max_positives, x.size)
    size = 1 << bound.bit_length()  # the power of two above the bound: one entry at least is padding
    top, _ = jax.lax.top_k(jnp.where(positive, x, -jnp.inf).ravel(), min(size - 1, x.size))
    ascending = jnp.concatenate([jnp.full(size - top.size, -jnp.inf, x.dtype), top[::-1]])

    below = _entries_below(ascending, x, jnp.less)
    # An equal entry, if any, is the next one: its multiplicity needs no second search over the pixels.
    multiplicity = _entries_below(ascending, ascending, jnp.less_equal) - _entries_below(ascending, ascending, jnp.less)
    following = _take(jnp.append(ascending, jnp.inf), below)
    ties = jnp.where(following == x, _take(jnp.append(multiplicity, 0), below), 0)
    wins = 2 * (size - below) - ties  # twice: ties count one half

    # Integer sums along rows are exact and cannot overflow; the last sum may round.
    doubled = jnp.where(negative, wins, 0).sum(axis=-1, dtype=jnp.int32).astype(x.dtype).sum()
    value = doubled / 2 / n.astype(x.dtype) / m.astype(x.dtype)
    defined = (n > 0) & (m > 0) & (n <= bound) & jnp.isfinite(x.max() - x.min())
    return jnp.where(defined, value, jnp.nan)


def _entries_below(
    ascending: Float[Array, "n"], x: Float[Array, "*s"], compare: Callable[[Array, Array], Array]
) -> Int[Array, "*s"]:
    """Binary search in a table of 2^k entries, the first of which is below everything.

    Returns how many entries e satisfy `compare(e, x)`. A loop, not unrolled: XLA would fuse the steps, and
    each would read again from the table what earlier ones have read.
    """
    steps = ascending.shape[0].bit_length() - 1

    def halve(i: Int[Array, ""], index: Int[Array, "*s"]) -> Int[Array, "*s"]:
        middle = index + (ascending.shape[0] // 2 >> i)
        return jnp.where(compare(_take(ascending, middle), x), middle, index)

    return jax.lax.fori_loop(0, steps, halve, jnp.zeros(x.shape, jnp.int32)) + 1


def _take(table: Shaped[Array, "n"], index: Int[Array, "*s"]) -> Shaped[Array, "*s"]:
    """`table[index]` without the check of the bounds, which costs more than the reading."""
    return table.at[index].get(mode="promise_in_bounds")


def _binned(
    unit: Float[Array, "h w"],
    positive: Bool[Array, "h w"],
    negative: Bool[Array, "h w"],
    thresholds: np.ndarray,
) -> Float[Array, ""]:
    """The rank statistic of a map in [0, 1] cut at the thresholds, from two histograms."""

    def reach(mask: Bool[Array, "h w"]) -> Float[Array, "n"]:
        """Share of the masked pixels that reach threshold 0 (all), 1, 2, ..., and none at the end."""
        counts = [mask.sum(dtype=jnp.int32)]
        counts += [(mask & (unit >= t)).sum(dtype=jnp.int32) for t in thresholds]
        share = jnp.stack([*counts, jnp.zeros_like(counts[0])]).astype(unit.dtype)
        return share / share[0]

    p, q = reach(positive), reach(negative)
    # A positive in bin b beats the negatives below b and halves those in b.
    value = jnp.sum((p[:-1] - p[1:]) * (1 - (q[:-1] + q[1:]) / 2))
    return jnp.where(jnp.isnan(unit).any(), jnp.nan, value)
