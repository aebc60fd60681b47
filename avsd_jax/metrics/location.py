"""Metrics at the fixated pixels: normalised scanpath saliency and information gain."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from avsd_jax.metrics.maps import (
    FixationMaps,
    Maps,
    Scores,
    as_float,
    centred,
    check_shapes,
    fixated,
    is_constant,
    is_pysaliency,
    min_max,
    of_all_maps,
    over_maps,
    pysaliency_density,
    scaled,
    sum_of_products,
    sum_to_one,
    total,
    weights,
)
from avsd_jax.metrics.ranks import count_bits, pack_bits, positions, values_at

_MIT_EPSILON = 2.0**-52
_PYSALIENCY_EPSILON = 1e-20


@functools.partial(jax.jit, static_argnames="convention")
def nss(pred: Maps, fixations: FixationMaps, convention: str = "mit") -> Scores:
    """Computes the mean z-score of the prediction over the fixated pixels.

    Args:
        pred: saliency of any scale, `[..., H, W]`.
        fixations: positive at fixated pixels, same shape.
        convention: "mit" (MIT `NSS`): standard deviation over pixels - 1, a pixel fixated twice counts once, a
            constant prediction has no score. "pysaliency": standard deviation over pixels, every fixation of
            a count map counts, a constant prediction scores 0.

    Returns:
        `[...]`; NaN if there is no fixation, and for "mit" if the prediction is constant.

    Raises:
        InputError: the shapes differ or the convention is unknown.
    """
    check_shapes(pred=pred, fixations=fixations)
    pysaliency = is_pysaliency(convention)
    (pred,) = as_float(pred)
    if pysaliency:
        return over_maps(_pysaliency_nss, pred, weights(fixations, True, pred.dtype))
    return over_maps(functools.partial(nss_of, dtype=pred.dtype), pred, fixated(fixations))


def nss_of(x: Num[Array, "h w"], hit: Bool[Array, "h w"], dtype: Any, bound: int | None = None) -> Float[Array, ""]:
    """Computes `nss` of one map in its type or a wider one; the bound on fixations need not hold."""
    deviation, words = centred(scaled(x, dtype)), pack_bits(hit)
    n, std = count_bits(words), jnp.sqrt(sum_of_products(deviation, deviation) / (x.size - 1))
    value = of_all = lambda: total(jnp.where(hit, deviation, 0))  # noqa: E731
    if bound is not None and bound <= x.size // 8:
        listed = values_at(deviation, positions(words, bound), 0).sum()
        value = lambda: jax.lax.cond(of_all_maps(n) <= bound, lambda: listed, of_all)  # noqa: E731
    return jnp.where(is_constant(x, dtype), jnp.nan, value() / std) / n.astype(dtype)


def _pysaliency_nss(x: Float[Array, "h w"], weight: Float[Array, "h w"]) -> Float[Array, ""]:
    deviation = centred(scaled(x, x.dtype))
    std = jnp.sqrt(sum_of_products(deviation, deviation) / x.size)
    return jnp.where(is_constant(x), 0, total(deviation * weight) / std) / total(weight)


@functools.partial(jax.jit, static_argnames="convention")
def information_gain(pred: Maps, fixations: FixationMaps, baseline: Maps, convention: str = "mit") -> Scores:
    """Computes the mean over the fixated pixels of log2 of the prediction's over the baseline's probability.

    Args:
        pred: saliency, `[..., H, W]`.
        fixations: positive at fixated pixels, same shape.
        baseline: the prediction without the stimulus, such as a centre bias, same shape.
        convention: "mit" (MIT `InfoGain`): maps are min-max normalised, then divided by their sum, and 2^-52
            is added. "pysaliency": 1e-20 is added to maps, which are shifted first if they are negative, and
            they are divided by their sum; every fixation of a count map counts. The two are not
            comparable: they differ by up to 60 bits if a prediction has zeros.

    Returns:
        `[...]` in bits; NaN if there is no fixation, and for "mit" if either map is constant.

    Raises:
        InputError: the shapes differ or the convention is unknown.
    """
    check_shapes(pred=pred, fixations=fixations, baseline=baseline)
    pysaliency = is_pysaliency(convention)
    pred, baseline = as_float(pred, baseline)

    def bits(x: Float[Array, "h w"]) -> Float[Array, "h w"]:
        if pysaliency:
            return jnp.log2(pysaliency_density(x, _PYSALIENCY_EPSILON))
        return jnp.log2(sum_to_one(min_max(x)) + _MIT_EPSILON)

    def gain(x: Float[Array, "h w"], base: Float[Array, "h w"], weight: Float[Array, "h w"]) -> Float[Array, ""]:
        return total((bits(x) - bits(base)) * weight) / total(weight)

    return over_maps(gain, pred, baseline, weights(fixations, pysaliency, pred.dtype))
