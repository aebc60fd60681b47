"""Max pooling over time, height and width."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from avsd_jax.nn.conv3d import Triple


def max_pool(
    x: Float[Array, "b t h w c"], window: Triple, strides: Triple, padding: Triple = (0, 0, 0)
) -> Float[Array, "b t2 h2 w2 c"]:
    """Largest value of each window; symmetric padding that never wins; a last partial window is dropped."""
    pads = [(0, 0), *((p, p) for p in padding), (0, 0)]
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, *window, 1), (1, *strides, 1), pads)
