"""Learned Gaussian maps, by which a network knows where in the frame people tend to look."""

from itertools import product

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

NUMBER = 16
_HEIGHT = 6.0


def gaussian_maps(gaussians: Float[Array, "k 2 2"], size: tuple[int, int]) -> Float[Array, "h w k"]:
    """Returns 6 exp(-((y - mu_y) / s_y)^2 / 2) exp(-((x - mu_x) / s_x)^2 / 2), x and y from 0 to 1.

    Args:
        gaussians: mu and log s, of y and of x.
        size: height and width.
    """
    rows, columns = (
        jnp.exp(-jnp.square((jnp.linspace(0, 1, side)[:, None] - gaussians[:, axis, 0]) / deviation) / 2)
        for axis, (side, deviation) in enumerate(zip(size, jnp.exp(gaussians[:, :, 1].T), strict=True))
    )
    return _HEIGHT * rows[:, None] * columns


def first_gaussians(key: Array, shape: tuple[int, ...] = (NUMBER, 2, 2)) -> Float[Array, "16 2 2"]:
    """Returns UNISAL's initial Gaussians: nine narrow ones on a grid, three wide, three high, and one that is both."""
    del key
    narrow, broad = -1.5, 0.0
    centres = [*product((0.25, 0.5, 0.75), repeat=2), *product((0.5,), (0.25, 0.5, 0.75))]
    centres += [*product((0.25, 0.5, 0.75), (0.5,)), (0.5, 0.5)]
    spreads = [(narrow, narrow)] * 9 + [(broad, narrow)] * 3 + [(narrow, broad)] * 3 + [(broad, broad)]
    return jnp.asarray(np.stack([centres, spreads], axis=-1).reshape(shape), jnp.float32)
