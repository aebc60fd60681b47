"""Winograd's minimal filtering along one axis: a 3-tap convolution with half the multiplications.

F(4, 3) of Lavin & Gray, "Fast algorithms for convolutional neural networks", CVPR 2016: four outputs of a
3-tap filter from six products instead of twelve. Applied to one axis of a 3 x 3 convolution only: the second
axis would save as much again on paper, but its transforms cost more memory traffic than they save, and
rounding errors grow from 3e-6 to 1e-5 of the largest output.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

TILE = 4  # outputs per tile; the axis must be a multiple of it

# Rows: six transformed inputs from the six inputs of a tile, six kernels from three taps, four outputs.
_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


def convolve_same(
    x: Float[Array, "n h w i"],
    kernel: Float[Array, "kh kw i o"],
    axis: int,
    convolve: Callable[[jax.Array, jax.Array], jax.Array],
) -> Float[Array, "n h w o"]:
    """Computes a convolution with 3 taps, stride 1 and padding 1 along `axis` of x, by six shorter ones.

    Args:
        x: input; its size along `axis` is a multiple of `TILE`.
        kernel: its size along axis - 1 is 3.
        axis: 1 (height) or 2 (width) of x.
        convolve: (x, kernel) -> y, the convolution over the other axis; it gets one row of each tile, and a
            kernel of size 1 along axis - 1.
    """
    size = x.shape[axis]
    padded = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(4)])
    rows = [lax.slice_in_dim(padded, r, r + size - TILE + 1, TILE, axis) for r in range(TILE + 2)]
    taps = [lax.slice_in_dim(kernel, k, k + 1, axis=axis - 1) for k in range(3)]
    products = [convolve(_mix(a, rows), _mix(g, taps)) for a, g in zip(_INPUT, _KERNEL, strict=True)]
    tiles = jnp.stack([_mix(c, products) for c in _OUTPUT], axis + 1)
    return tiles.reshape(*tiles.shape[:axis], size, *tiles.shape[axis + 2 :])


def _mix(weights: Sequence[int | float], terms: Sequence[jax.Array]) -> jax.Array:
    """Returns a weighted sum, written out so that it fuses into one pass over memory."""
    scaled = [term if weight == 1 else weight * term for weight, term in zip(weights, terms, strict=True) if weight]
    return sum(scaled[1:], scaled[0])
