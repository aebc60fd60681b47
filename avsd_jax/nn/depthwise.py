"""Depthwise 2-D convolutions of 3 x 3, in which every channel has a kernel of its own.

XLA's CPU backend takes twenty to eighty times as long for a convolution with as many groups as channels as for the sum
of nine shifted arrays, each times a vector, which it fuses into one pass over memory.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

_SIZE = 3


def depthwise(
    x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 1 c"], stride: int = 1
) -> Float[Array, "n h2 w2 c"]:
    """Computes a depthwise convolution (cross-correlation), padded by a row and a column of zeros on each side."""
    if jax.default_backend() != "cpu":
        return _grouped(stride, x, kernel)
    return _shifted(stride, x, kernel)


def _grouped(stride: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    pads = [(1, 1), (1, 1)]
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=x.shape[-1]
    )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _shifted(stride: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes a depthwise convolution as a sum of shifted arrays."""
    seen = _seen(x, stride)
    return sum(part * kernel[i, j, 0] for (i, j), part in seen.items())


def _seen(x: Float[Array, "n h w c"], stride: int) -> dict[tuple[int, int], Float[Array, "n h2 w2 c"]]:
    """Returns what each entry (row, column) of a kernel multiplies."""
    n, h, w, c = x.shape
    rows, columns = ((side - 1) // stride * stride + 1 for side in (h, w))
    padded = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    return {
        (i, j): lax.slice(padded, (0, i, j, 0), (n, i + rows, j + columns, c), (1, stride, stride, 1))
        for i in range(_SIZE)
        for j in range(_SIZE)
    }


def _forward(stride: int, x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _shifted(stride, x, kernel), (x, kernel)


def _backward(stride: int, saved: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    # The gradient by x is the convolution of the output's, zeros between its values, with the mirrored kernel.
    gaps = [(0, x.shape[axis] - (dy.shape[axis] - 1) * stride - 1, stride - 1) for axis in (1, 2)]
    spread = dy if stride == 1 else lax.pad(dy, jnp.zeros((), dy.dtype), [(0, 0, 0), *gaps, (0, 0, 0)])
    dx = _shifted(1, spread, kernel[::-1, ::-1])
    taps = [jnp.sum(part * dy, axis=(0, 1, 2)) for part in _seen(x, stride).values()]
    return dx, jnp.stack(taps).reshape(kernel.shape)


_shifted.defvjp(_forward, _backward)


class DepthwiseConv2D(nn.Module):
    """Bias-free depthwise 3 x 3 convolution; computes in the dtype of its input.

    Attributes:
        stride: in both directions.
        kernel_init: initialiser of the kernel, (3, 3, 1, channels).
    """

    stride: int = 1
    kernel_init: Callable[..., jax.Array] = nn.initializers.variance_scaling(2.0, "fan_out", "normal")

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n h w c"],
        scale: Float[Array, " c"] | None = None,
        shift: Float[Array, " c"] | None = None,
    ) -> Float[Array, "n h2 w2 c"]:
        """Returns conv(x) * scale + shift."""
        kernel = self.param("kernel", self.kernel_init, (_SIZE, _SIZE, 1, x.shape[-1]))
        if scale is not None:
            kernel = kernel * scale
        y = depthwise(x, kernel.astype(x.dtype), self.stride)
        return y if shift is None else y + shift.astype(x.dtype)
