"""Gradients of 2-D convolutions that XLA's CPU backend computes slowly by its own rules.

The gradients of a strided convolution over time are dilated: most of their terms are zeros. Here the phases of the
stride become channels of a convolution without one, which has the same gradients, in half the time. (In space, with
kernels of 3 x 3, it would take longer.) The gradient of Winograd's form by its input scatters rows one by one; here it
is a convolution of the same form, and ViNet's step needs a sixth less scratch memory. Where a kernel has few inputs and
hundreds of outputs, a matmul for each of its taps is ten times as fast.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Pair = tuple[int, int]
Convolution = Callable[[jax.Array, jax.Array], jax.Array]
Gradient = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def conv2d(
    x: Float[Array, "n h w i"], kernel: Float[Array, "kh kw i o"], strides: Pair, padding: Pair
) -> Float[Array, "n h2 w2 o"]:
    """Computes a 2-D convolution (cross-correlation) with symmetric zero padding."""
    over_rows = kernel.shape[1] == 1 and strides[0] > 1 and strides[1] == 1 and padding[1] == 0
    if not over_rows or jax.default_backend() != "cpu":
        return _plain(strides, padding, x, kernel)

    def gradient(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vjp(partial(_in_phases, strides[0], padding[0]), x, kernel)[1](dy)

    plain = partial(_plain, strides, padding)
    return _with_gradient(plain, plain, gradient, x, kernel)


def same_conv(
    convolve: Convolution, inference: Convolution, x: Float[Array, "n h w i"], kernel: Float[Array, "kh kw i o"]
) -> Float[Array, "n h w o"]:
    """Does what `trained_as` does for a convolution of odd size that keeps height and width.

    Its gradient by x is `convolve(dy, mirrored kernel)`.
    """

    def gradient(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
        mirrored = kernel[::-1, ::-1].swapaxes(2, 3)
        return convolve(dy, mirrored), jax.vjp(partial(convolve, x), kernel)[1](dy)[0]

    return _with_gradient(inference, convolve, gradient, x, kernel)


def trained_as(
    value: Convolution, inference: Convolution, x: Float[Array, "n *space i"], kernel: Float[Array, "*taps j o"]
) -> Float[Array, "n *space2 o"]:
    """Returns `inference(x, kernel)`, or `value(x, kernel)` where gradients are computed: two forms of one function."""

    def gradient(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vjp(value, x, kernel)[1](dy)

    return _with_gradient(inference, value, gradient, x, kernel)


def conv_by_taps(
    x: Float[Array, "n h w i"], kernel: Float[Array, "kh kw i o"], padding: Pair
) -> Float[Array, "n h2 w2 o"]:
    """Computes `conv2d` of a small kernel of few inputs and many outputs, whose gradient is a matmul for each tap."""
    if jax.default_backend() != "cpu":
        return _plain((1, 1), padding, x, kernel)

    def gradient(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
        (rows, columns, i, o), (n, h, w, _) = kernel.shape, dy.shape
        padded = jnp.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0)])
        seen = [padded[:, row : row + h, column : column + w] for row in range(rows) for column in range(columns)]
        taps = jnp.concatenate(seen, axis=-1).reshape(n * h * w, rows * columns * i).T @ dy.reshape(n * h * w, o)
        dx = jax.vjp(lambda x: _plain((1, 1), padding, x, kernel), x)[1](dy)[0]
        return dx, taps.reshape(kernel.shape)

    plain = partial(_plain, (1, 1), padding)
    return _with_gradient(plain, plain, gradient, x, kernel)


def _plain(strides: Pair, padding: Pair, x: jax.Array, kernel: jax.Array) -> jax.Array:
    pads = [(p, p) for p in padding]
    return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _with_gradient(
    inference: Convolution, value: Convolution, gradient: Gradient, x: jax.Array, kernel: jax.Array
) -> jax.Array:
    """Returns value(x, kernel), by `inference` if not differentiated; gradient(x, kernel, dy) returns those of both."""
    return inference(x, kernel)


def _forward(
    inference: Convolution, value: Convolution, gradient: Gradient, x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return value(x, kernel), (x, kernel)


def _backward(
    inference: Convolution,
    value: Convolution,
    gradient: Gradient,
    saved: tuple[jax.Array, jax.Array],
    dy: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    return gradient(*saved, dy)


_with_gradient.defvjp(_forward, _backward)


def _in_phases(stride: int, padding: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes a convolution over rows: row stride * q + r becomes channel r of row q, and there is no stride."""
    (size, _, _, o), (n, h, w, i) = kernel.shape, x.shape
    taps, read = -(-size // stride), min(size, stride)  # phases that a shorter kernel does not read are left out
    rows = (h + 2 * padding - size) // stride + taps
    # Below 0 at the end where the last rows are never read.
    pads = [(0, 0, 0), (padding, rows * stride - h - padding, 0), (0, 0, 0), (0, 0, 0)]
    x = lax.pad(x, jnp.zeros((), x.dtype), pads).reshape(n, rows, stride, w, i)[:, :, :read]
    kernel = jnp.pad(kernel, [(0, taps * read - size), (0, 0), (0, 0), (0, 0)])
    x = x.transpose(0, 1, 3, 2, 4).reshape(n, rows, w, read * i)
    return _plain((1, 1), (0, 0), x, kernel.reshape(taps, 1, read * i, o))
