"""Winograd's minimal filtering along one axis: a 3-tap convolution with half the multiplications.

F(m, 3) of Lavin & Gray, "Fast algorithms for convolutional neural networks", CVPR 2016: m outputs of a 3-tap filter
from m + 2 products instead of 3 m. Along one axis of a 3 x 3 convolution, F(4, 3) halves the multiplications at errors
of 2e-6 of the largest output; F(2, 3) along both takes 4/9 of them at 6e-7. F(4, 3) along both would take a quarter, at
1e-5, which is too much to compare with recorded outputs, and its transforms cost the memory traffic that it saves.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Matrix = tuple[tuple[int | float, ...], ...]


class Transform(NamedTuple):
    """The matrices of F(m, 3): rows are m + 2 transformed inputs, m + 2 transformed kernels, m outputs."""

    inputs: Matrix
    kernels: Matrix
    outputs: Matrix


# By tile, the number of outputs m.
TRANSFORMS = {
    2: Transform(
        ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
        ((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
        ((1, 1, 1, 0), (0, 1, -1, -1)),
    ),
    4: Transform(
        (
            (4, 0, -5, 0, 1, 0),
            (0, -4, -4, 1, 1, 0),
            (0, 4, -4, -1, 1, 0),
            (0, -2, -1, 2, 1, 0),
            (0, 2, -1, -2, 1, 0),
            (0, 4, 0, -5, 0, 1),
        ),
        (
            (1 / 4, 0, 0),
            (-1 / 6, -1 / 6, -1 / 6),
            (-1 / 6, 1 / 6, -1 / 6),
            (1 / 24, 1 / 12, 1 / 6),
            (1 / 24, -1 / 12, 1 / 6),
            (0, 0, 1),
        ),
        ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
    ),
}


def convolve_same(
    x: Float[Array, "n h w i"],
    kernel: Float[Array, "kh kw i o"],
    axis: int,
    convolve: Callable[[jax.Array, jax.Array], jax.Array],
    tile: int = 4,
    parts: int = 1,
) -> Float[Array, "n h w o"]:
    """Computes a convolution with 3 taps, stride 1 and padding 1 along `axis` of x, by `tile` + 2 shorter ones.

    Args:
        x: input.
        kernel: its size along axis - 1 is 3.
        axis: 1 (height) or 2 (width) of x.
        convolve: (x, kernel) -> y, the convolution over the other axis; it gets one row of each tile, and a
            kernel of size 1 along axis - 1.
        tile: one of `TRANSFORMS`.
        parts: divides n; so many parts of x are computed one after the other, so that what is between the transforms
            stays in a CPU's cache.
    """
    size, transform = x.shape[axis], TRANSFORMS[tile]
    short = -size % tile  # rows of zeros that complete the last tile
    taps = [lax.slice_in_dim(kernel, k, k + 1, axis=axis - 1) for k in range(3)]
    kernels = [_mix(g, taps) for g in transform.kernels]

    def of_part(x: jax.Array) -> jax.Array:
        padded = jnp.pad(x, [(1, 1 + short) if a == axis else (0, 0) for a in range(4)])
        rows = [lax.slice_in_dim(padded, r, r + size + short - tile + 1, tile, axis) for r in range(tile + 2)]
        products = [convolve(_mix(a, rows), k) for a, k in zip(transform.inputs, kernels, strict=True)]
        tiles = jnp.stack([_mix(c, products) for c in transform.outputs], axis + 1)
        y = tiles.reshape(*tiles.shape[:axis], size + short, *tiles.shape[axis + 2 :])
        return lax.slice_in_dim(y, 0, size, axis=axis)

    if parts == 1:
        return of_part(x)
    y = lax.map(of_part, x.reshape(parts, -1, *x.shape[1:]))
    return y.reshape(x.shape[0], *y.shape[2:])


def convolve_planes(x: Float[Array, "n h w i"], kernel: Float[Array, "3 3 i o"]) -> Float[Array, "n h w o"]:
    """Computes a 3 x 3 convolution of stride 1 and padding 1 by F(2 x 2, 3 x 3): 16 matrix products for 36."""

    def multiply(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return x @ kernel[0, 0]

    def along_width(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return convolve_same(x, kernel, 2, multiply, tile=2)

    return convolve_same(x, kernel, 1, along_width, tile=2)


def _mix(weights: Sequence[int | float], terms: Sequence[jax.Array]) -> jax.Array:
    """Returns a weighted sum, written out so that it fuses into one pass over memory."""
    scaled = [term if weight == 1 else weight * term for weight, term in zip(weights, terms, strict=True) if weight]
    return sum(scaled[1:], scaled[0])
