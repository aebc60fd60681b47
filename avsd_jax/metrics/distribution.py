"""Metrics that compare a prediction with a density map: linear correlation, similarity, divergence."""

import jax.numpy as jnp

from avsd_jax.metrics.maps import (
    Maps,
    Scores,
    as_float,
    centred,
    is_constant,
    is_zero,
    min_max,
    per_map,
    total,
)

EPSILON = 2.0**-52


def cc(pred: Maps, density: Maps) -> Scores:
    """Pearson correlation over pixels (MIT `CC`).

    Args:
        pred, density: maps of any scale, `[..., H, W]`.

    Returns:
        `[...]` in [-1, 1]; NaN where either map is constant.
    """
    pred, density = as_float(pred, density)
    x, y = centred(min_max(pred)), centred(min_max(density))
    return total(x * y) / jnp.sqrt(total(x * x) * total(y * y))


def sim(pred: Maps, density: Maps) -> Scores:
    """Histogram intersection of the two maps, each stretched to [0, 1] and divided by its sum (MIT
    `similarity`).

    Args:
        pred, density: maps of any scale, `[..., H, W]`.

    Returns:
        `[...]` in [0, 1]. A map that is zero everywhere shares nothing: 0, so a frame nobody fixated counts
        as 0 here while the other metrics drop it. NaN where either map is constant but not zero.
    """
    pred, density = as_float(pred, density)
    x, y = min_max(pred), min_max(density)
    shared = total(jnp.minimum(x / per_map(total(x)), y / per_map(total(y))))
    no_pred, no_density = is_zero(pred), is_zero(density)
    flat = (is_constant(pred) & ~no_pred) | (is_constant(density) & ~no_density)
    undefined = flat | jnp.isnan(total(pred) + total(density))
    return jnp.where(undefined, jnp.nan, jnp.where(no_pred | no_density, 0, shared))


def kl(pred: Maps, density: Maps) -> Scores:
    """Divergence of the prediction from the density, `sum q ln(eps + q / (p + eps))`, eps = 2^-52 (MIT
    `KLdiv`).

    Args:
        pred, density: non-negative maps, `[..., H, W]`; each is divided by its sum, a zero map stays zero.

    Returns:
        `[...]` in nats, lower is better: 0 for an empty density; NaN where a map has a negative value, of
        which the logarithm does not exist (a bicubic resize can make some: clip first).
    """
    pred, density = as_float(pred, density)
    p, q = _sum_to_one(pred), _sum_to_one(density)
    divergence = total(q * jnp.log(EPSILON + q / (p + EPSILON)))
    negative = jnp.any((pred < 0) | (density < 0), axis=(-2, -1))
    return jnp.where(negative, jnp.nan, divergence)


def _sum_to_one(x: Maps) -> Maps:
    mass = total(x)
    return x / per_map(jnp.where(mass == 0, 1, mass))
