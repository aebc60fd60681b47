"""Linear fusion with weights by expectation maximisation on fixations (survey, IV.B, [139])."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.normalise import as_float

ITERATIONS = 200

# Where all maps are 0, each explains a fixation equally well, or as badly.
_NOWHERE = 1e-12


class Mixture(NamedTuple):
    """Weights of K maps, that sum to 1, and the log-likelihood of the fixations under their mixture, in nats."""

    weights: Float[Array, "*b k"]
    log_likelihood: Float[Array, "*b"]


def fit(
    maps: Num[Array | np.ndarray, "*b k h w"],
    fixations: Num[Array | np.ndarray, "*b h w"],
    iterations: int = ITERATIONS,
) -> Mixture:
    """Fits p(x) = sum_k w_k phi_k(x) to fixations, from equal weights.

    The likelihood is concave in the weights: the limit does not depend on the start.

    Args:
        maps: K maps that are not negative, such as static and dynamic saliency, faces, a centre bias and a constant;
            each is divided by its sum.
        fixations: number of fixations of each pixel. Several frames are fitted together if they are stacked along h.
        iterations: of the algorithm.

    Returns:
        With no fixations the weights stay equal and the likelihood is 0. A map that is 0 everywhere gets weight 0 if
        another explains the fixations.

    Raises:
        InputError: a negative number of iterations.
    """
    if iterations < 0:
        raise InputError(f"iterations={iterations}: give 0 or more")
    maps, fixations = as_float(maps, fixations)
    density = _densities(maps).reshape(*maps.shape[:-2], -1)
    density = jnp.where(jnp.any(density > 0, -2, keepdims=True), density, _NOWHERE)
    counts = fixations.reshape(*fixations.shape[:-2], 1, -1)
    total = jnp.sum(counts, -1)

    def step(_: Array, weights: Array) -> Array:
        shares = weights[..., None] * density
        explained = jnp.sum(shares, -2, keepdims=True)
        shares = shares / jnp.where(explained > 0, explained, 1)
        found = jnp.sum(counts * shares, -1) / jnp.where(total > 0, total, 1)
        return jnp.where(total > 0, found, weights)

    start = jnp.full(density.shape[:-1], 1 / maps.shape[-3], maps.dtype)
    weights = jax.lax.fori_loop(0, iterations, step, start)
    likelihood = jnp.sum(weights[..., None] * density, -2)
    # A weight can vanish in float32 where its map alone is not 0.
    logs = jnp.log(jnp.maximum(likelihood, jnp.finfo(maps.dtype).tiny))
    return Mixture(weights, jnp.sum(jnp.where(counts[..., 0, :] > 0, counts[..., 0, :] * logs, 0), -1))


def fuse(maps: Num[Array | np.ndarray, "*b k h w"], weights: Num[Array | np.ndarray, "*b k"]) -> Float[Array, "*b h w"]:
    """Fuses maps: S = sum_k w_k phi_k, each divided by its sum."""
    maps, weights = as_float(maps, weights)
    return jnp.sum(weights[..., None, None] * _densities(maps), -3)


def _densities(maps: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    total = jnp.sum(maps, (-2, -1), keepdims=True)
    return maps / jnp.where(total > 0, total, 1)
