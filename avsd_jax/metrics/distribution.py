"""Metrics that compare a prediction with a density map: linear correlation, similarity, divergence."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from avsd_jax.metrics.maps import (
    Maps,
    Scores,
    as_float,
    centred,
    check_shapes,
    has_nan,
    is_constant,
    is_pysaliency,
    is_zero,
    lesser,
    over_maps,
    pysaliency_density,
    scaled,
    sum_of_products,
    total,
)

_MIT_EPSILON = 2.0**-52
_PYSALIENCY_EPSILON = 1e-20


@functools.partial(jax.jit, static_argnames="convention")
def cc(pred: Maps, density: Maps, convention: str = "mit") -> Scores:
    """Computes the Pearson correlation over pixels (MIT `CC`).

    Args:
        pred, density: maps of any scale, `[..., H, W]`.
        convention: "mit" or "pysaliency"; they only differ for a constant prediction.

    Returns:
        `[...]` in [-1, 1]; NaN if either map is constant, but 0 for "pysaliency" if only the prediction is.

    Raises:
        InputError: the shapes differ or the convention is unknown.
    """
    check_shapes(pred=pred, density=density)
    pysaliency = is_pysaliency(convention)

    pred, density = as_float(pred, density)
    correlation = functools.partial(correlation_of, dtype=pred.dtype, pysaliency=pysaliency)
    return over_maps(correlation, pred, density)


def correlation_of(
    pred: Num[Array, "h w"], density: Num[Array, "h w"], dtype: Any, pysaliency: bool = False
) -> Float[Array, ""]:
    """Computes `cc` of one map in its type or a wider one."""
    x, y = centred(scaled(pred, dtype)), centred(scaled(density, dtype))
    value = sum_of_products(x, y) / jnp.sqrt(sum_of_products(x, x) * sum_of_products(y, y))
    no_pred, no_density = is_constant(pred, dtype), is_constant(density, dtype)
    if pysaliency:
        value = jnp.where(no_pred, 0, value)
        no_pred = False
    return jnp.where(no_pred | no_density, jnp.nan, value)


@functools.partial(jax.jit, static_argnames="convention")
def sim(pred: Maps, density: Maps, convention: str = "mit") -> Scores:
    """Computes the histogram intersection of the two maps, each divided by its sum.

    Args:
        pred, density: maps of any scale, `[..., H, W]`.
        convention: "mit" (MIT `similarity`): each map is min-max normalised first. "pysaliency": only shifted
            if it has negative values, and a zero map is uniform: lower whenever a prediction's minimum is
            above 0.

    Returns:
        `[...]` in [0, 1]. For "mit" a map that is zero everywhere has no overlap: 0, so a frame without fixations
        counts as 0 here, as in the published protocol, while the other metrics drop it; NaN if
        either map is constant but not zero.

    Raises:
        InputError: the shapes differ or the convention is unknown.
    """
    check_shapes(pred=pred, density=density)
    pysaliency = is_pysaliency(convention)

    pred, density = as_float(pred, density)
    if pysaliency:
        return over_maps(
            lambda pred, density: total(lesser(pysaliency_density(pred), pysaliency_density(density))), pred, density
        )
    return over_maps(functools.partial(intersection_of, dtype=pred.dtype), pred, density)


def intersection_of(pred: Num[Array, "h w"], density: Num[Array, "h w"], dtype: Any) -> Float[Array, ""]:
    """Computes `sim` of one map in its type or a wider one."""
    x, y = scaled(pred, dtype), scaled(density, dtype)
    shared = total(lesser(x * (1 / total(x)), y * (1 / total(y))))
    no_pred, no_density = is_zero(pred), is_zero(density)
    flat = (is_constant(pred, dtype) & ~no_pred) | (is_constant(density, dtype) & ~no_density)
    undefined = flat | has_nan(pred, dtype) | has_nan(density, dtype)
    return jnp.where(undefined, jnp.nan, jnp.where(no_pred | no_density, 0, shared))


@functools.partial(jax.jit, static_argnames="convention")
def kl(pred: Maps, density: Maps, convention: str = "mit") -> Scores:
    """Computes the divergence of the prediction p from the density q, both divided by their sums.

    Args:
        pred, density: maps `[..., H, W]`, for "mit" non-negative.
        convention: "mit" (MIT `KLdiv`, and pysaliency's `MIT_KLDiv` except for zero maps):
            `sum q ln(eps + q / (p + eps))`, eps = 2^-52, a zero map stays zero. "pysaliency" (its
            `image_based_kl_divergence` with its defaults): `sum q ln(q / p)` after 1e-20 is added to both
            maps, which are shifted first if they have negative values.

    Returns:
        `[...]` in nats, lower is better. For "mit" 0 if the density is empty, and NaN if a map has a
        negative value, whose logarithm does not exist (a bicubic resize can produce some: clip first).

    Raises:
        InputError: the shapes differ or the convention is unknown.
    """
    check_shapes(pred=pred, density=density)
    pysaliency = is_pysaliency(convention)

    pred, density = as_float(pred, density)

    def divergence(pred: Float[Array, "h w"], density: Float[Array, "h w"]) -> Float[Array, ""]:
        if not pysaliency:
            return divergence_of(pred, density, pred.dtype)
        p, q = (pysaliency_density(x, _PYSALIENCY_EPSILON) for x in (pred, density))
        return total(q * (jnp.log(q) - jnp.log(p)))

    return over_maps(divergence, pred, density)


def divergence_of(pred: Num[Array, "h w"], density: Num[Array, "h w"], dtype: Any) -> Float[Array, ""]:
    """Computes `kl` of one map in its type or a wider one."""
    maps = [x.astype(dtype) for x in (pred, density)]
    p, q = (x * (1 / jnp.where(total(x) == 0, 1, total(x))) for x in maps)
    nats = total(q * jnp.log(_MIT_EPSILON + q / (p + _MIT_EPSILON)))
    return jnp.where((pred.min() < 0) | (density.min() < 0), jnp.nan, nats)
