"""Markov chains on the pixels of a small map, whose equilibrium is GBVS's activation and normalisation.

Harel, Koch, Perona, "Graph-based visual saliency", NIPS 2006. A walker on pixel j goes to i in proportion to a weight
that falls with the distance: `dissimilarity` leads to pixels unlike j, `concentration` to large ones. The toolbox does
not wait for the equilibrium itself: it stops when a step changes the distribution by less than a tolerance.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# A chain whose distribution alternates never settles; the toolbox's own need about ten steps.
MOST_STEPS = 200


def dissimilarity(maps: Float[Array, "n h w"], sigma: float, tolerance: float) -> Float[Array, "n h w"]:
    """Returns how often a walker who prefers pixels unlike his own is at each pixel; a map sums to one.

    The weight into i from j is |A_i - A_j| exp(-d_ij^2 / (2 sigma^2)), d in pixels. A constant map gives a uniform one.
    """

    def weights(values: Float[Array, " k"], near: Float[Array, "k k"]) -> Float[Array, "k k"]:
        return jnp.abs(values[:, None] - values) * near

    return _equilibria(weights, maps, sigma, tolerance)


def concentration(maps: Float[Array, "n h w"], sigma: float, tolerance: float) -> Float[Array, "n h w"]:
    """Returns how often a walker who prefers large values is at each pixel: weights A_i exp(-d_ij^2 / (2 sigma^2))."""

    def weights(values: Float[Array, " k"], near: Float[Array, "k k"]) -> Float[Array, "k k"]:
        return values[:, None] * near

    return _equilibria(weights, maps, sigma, tolerance)


def _equilibria(
    weights: Callable[[jax.Array, jax.Array], jax.Array], maps: Float[Array, "n h w"], sigma: float, tolerance: float
) -> Float[Array, "n h w"]:
    """Walks on each map until a step changes less than the tolerance.

    One map after the other: its matrix of (h w)^2 weights stays in a processor's cache, which for 32 x 32 pixels is
    four times as fast as all maps in step.
    """
    height, width = maps.shape[-2:]
    pixels = height * width
    near = jnp.asarray(_nearness(height, width, sigma), maps.dtype)
    uniform = jnp.full((pixels,), 1 / pixels, maps.dtype)

    def walk(values: Float[Array, " k"]) -> Float[Array, " k"]:
        chain = weights(values, near)
        leaving = jnp.sum(chain, 0)
        # A pixel without any way out, as on a constant map, lets the walker go anywhere.
        stuck = leaving <= 0
        share = jnp.where(stuck, 0, 1 / jnp.where(stuck, 1, leaving))

        def step(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
            count, before, _ = state
            after = jnp.matmul(chain, before * share, precision=jax.lax.Precision.HIGHEST)
            after += jnp.sum(jnp.where(stuck, before, 0)) / pixels
            return count + 1, after, jnp.linalg.norm(after - before)

        def moving(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            return (state[2] > tolerance) & (state[0] < MOST_STEPS)

        _, found, _ = jax.lax.while_loop(moving, step, (0, uniform, jnp.inf))
        return found / jnp.sum(found)

    return jax.lax.map(walk, maps.reshape(-1, pixels)).reshape(maps.shape)


def _nearness(height: int, width: int, sigma: float) -> Float[np.ndarray, "k k"]:
    """Returns exp(-d^2 / (2 sigma^2)) of every pair of pixels."""
    rows, columns = (side.ravel() for side in np.mgrid[:height, :width])
    squared = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    return np.exp(-squared / (2 * sigma**2))
