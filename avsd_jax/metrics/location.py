"""Metrics at the fixated pixels: normalised scanpath saliency and information gain."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avsd_jax.metrics.maps import (
    FixationMaps,
    Maps,
    Scores,
    as_float,
    centred,
    check_shapes,
    is_constant,
    is_pysaliency,
    min_max,
    over_maps,
    pysaliency_density,
    scaled,
    sum_to_one,
    total,
    weights,
)

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
    pixels = pred.shape[-2] * pred.shape[-1]

    def score(x: Float[Array, "h w"], weight: Float[Array, "h w"]) -> Float[Array, ""]:
        deviation = centred(scaled(x))
        std = jnp.sqrt(total(deviation * deviation) / (pixels if pysaliency else pixels - 1))
        value = total(deviation * weight) / std
        return jnp.where(is_constant(x), 0 if pysaliency else jnp.nan, value) / total(weight)

    return over_maps(score, pred, weights(fixations, pysaliency, pred.dtype))


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
