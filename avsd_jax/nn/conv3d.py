"""The 3-D convolution that every model uses, folded into 2-D convolutions and matmuls.

3-D convolutions, and above all their gradients, run far from the hardware's limit where 2-D ones and matmuls run near
it: in XLA's CPU backend, and in cuDNN. On an H100, ViNet's forward pass takes 2.5 ms a clip folded and 3.8 direct in
TF32, 1.7 and 5.1 in bfloat16, its training step 47 and 72 ms. So every kernel is folded on every device.
Parameters have one layout, (T, H, W, in, out), in either case.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from avsd_jax.nn import winograd
from avsd_jax.nn.conv_gradient import conv2d, same_conv, trained_as

Lowering = Literal["auto", "direct", "folded", "winograd", "winograd2d"]
Triple = tuple[int, int, int]

# Bytes of a convolution whose parts are computed one after the other, and of a part.
_LARGE, _PART = 2**25, 2**22

_HE_NORMAL = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")


def conv3d(
    x: Float[Array, "b t h w i"],
    kernel: Float[Array, "kt kh kw i o"],
    strides: Triple = (1, 1, 1),
    padding: Triple = (0, 0, 0),
    lowering: Lowering = "auto",
) -> Float[Array, "b t2 h2 w2 o"]:
    """Computes a 3-D convolution (cross-correlation) with symmetric zero padding.

    Args:
        x: input.
        kernel: weights.
        strides: steps in time, height and width.
        padding: zeros on either side of time, height and width.
        lowering: "direct" (one 3-D convolution); "folded" (2-D convolutions and matmuls, equal up to rounding);
            "winograd" or "winograd2d" (folded, and 3 x 3 ones by Winograd's algorithm along one axis or both: a half or
            4/9 of the multiplications); or "auto": folded on every device, until one is measured where that is slower,
            and on a CPU "winograd" where it was measured to be faster. `python -m benchmarks.run --cases=lowerings`
            compares them.
    """
    if lowering == "direct":
        return _direct(x, kernel, strides, padding)
    return _folded(x, kernel, strides, padding, lowering)


def _direct(x: jax.Array, kernel: jax.Array, strides: Triple, padding: Triple) -> jax.Array:
    pads = [(p, p) for p in padding]
    return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=("NDHWC", "DHWIO", "NDHWC"))


def _folded(x: jax.Array, kernel: jax.Array, strides: Triple, padding: Triple, lowering: Lowering) -> jax.Array:
    if kernel.shape[:3] == (1, 1, 1) and padding == (0, 0, 0):
        x = x[:, :: strides[0], :: strides[1], :: strides[2]]
        return (x.reshape(-1, x.shape[-1]) @ kernel[0, 0, 0]).reshape(*x.shape[:-1], kernel.shape[-1])
    b, t, h, w, i = x.shape
    kt, kh, kw, _, o = kernel.shape
    if kt == 1 and strides[0] == 1 and padding[0] == 0:
        y = _space(x.reshape(b * t, h, w, i), kernel[0], strides[1:], padding[1:], lowering)
        return y.reshape(b, t, *y.shape[1:])
    if (kh, kw) == (1, 1) and strides[1:] == (1, 1) and padding[1:] == (0, 0):
        y = conv2d(x.reshape(b, t, h * w, i), kernel[:, 0], (strides[0], 1), (padding[0], 0))
        return y.reshape(b, y.shape[1], h, w, o)
    each = zip(x.shape[1:4], kernel.shape[:3], strides, padding, strict=True)
    places = [(size + 2 * pad - taps) // stride + 1 for size, taps, stride, pad in each]
    in_steps = partial(_in_steps, strides, padding, lowering)
    if lowering == "auto" and b * math.prod(places) <= o and jax.default_backend() == "cpu":
        return trained_as(in_steps, partial(_as_matmul, strides, padding, places), x, kernel)
    return in_steps(x, kernel)


def _in_steps(
    strides: Triple, padding: Triple, lowering: Lowering, x: jax.Array, kernel: jax.Array
) -> Float[Array, "b t2 h2 w2 o"]:
    """Computes a convolution over space: the kt frames that a step sees become kt * i channels."""
    kt, kh, kw, i, o = kernel.shape
    x = _steps(x, kt, strides[0], padding[0])
    kernel = kernel.transpose(1, 2, 0, 3, 4).reshape(1, kh, kw, kt * i, o)
    return _folded(x, kernel, (1, *strides[1:]), (0, *padding[1:]), lowering)


def _as_matmul(
    strides: Triple, padding: Triple, places: Sequence[int], x: jax.Array, kernel: jax.Array
) -> Float[Array, "b t2 h2 w2 o"]:
    """Computes a convolution as one matmul, of what each place sees: smaller than the kernel, which stays as it is."""
    x = jnp.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0)])

    def seen(tap: tuple[int, ...]) -> jax.Array:
        axes = (slice(k, k + s * (n - 1) + 1, s) for k, s, n in zip(tap, strides, places, strict=True))
        return x[:, *axes]

    rows = jnp.concatenate([seen(tap) for tap in itertools.product(*map(range, kernel.shape[:3]))], axis=-1)
    y = rows.reshape(-1, rows.shape[-1]) @ kernel.reshape(rows.shape[-1], -1)
    return y.reshape(*rows.shape[:-1], -1)


def _steps(x: Float[Array, "b t h w i"], size: int, stride: int, padding: int) -> Float[Array, "b t2 h w c"]:
    """Stacks the frames of each step of a kernel of that size on the channel axis: c = size * i."""
    b, t, h, w, i = x.shape
    if size == stride and padding == 0 and t % size == 0:
        return x.reshape(b, t // size, size, h, w, i).transpose(0, 1, 3, 4, 2, 5).reshape(b, t // size, h, w, size * i)
    x = jnp.pad(x, ((0, 0), (padding, padding), (0, 0), (0, 0), (0, 0)))
    last = x.shape[1] - size
    return jnp.concatenate([x[:, j : j + last + 1 : stride] for j in range(size)], axis=-1)


def _space(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], padding: tuple[int, int], lowering: Lowering
) -> jax.Array:
    """Computes a 2-D convolution; 3 x 3 ones by Winograd's algorithm if the lowering says so."""
    h, w = x.shape[1:3]
    suits = kernel.shape[:2] == (3, 3) and strides == (1, 1) and padding == (1, 1) and x.dtype == jnp.float32
    if suits and lowering == "winograd2d":
        return winograd.convolve_planes(x, kernel)
    if suits and (lowering == "winograd" or (lowering == "auto" and _pays(x, kernel))):
        along = partial(_winograd, _least_padded(x))
        # Winograd's products round three times as much as plain ones; where tiles do not fit, they save little.
        fits = h % 4 == 0 or w % 4 == 0 or lowering == "winograd"
        trained = partial(along, 1) if fits else partial(conv2d, strides=strides, padding=padding)
        return same_conv(trained, partial(along, _parts(x, kernel)), x, kernel)
    return conv2d(x, kernel, strides, padding)


def _pays(x: Float[Array, "n h w i"], kernel: Float[Array, "kh kw i o"]) -> bool:
    """Returns whether Winograd's algorithm is faster, as measured on CPUs alone: with many channels and places."""
    n, h, w, i = x.shape
    return jax.default_backend() == "cpu" and min(i, kernel.shape[-1]) >= 64 and n * h * w >= 1024


def _least_padded(x: Float[Array, "n h w i"]) -> int:
    """Returns the axis, 1 or 2, of which tiles of 4 cover the least more than there is."""
    return min((1, 2), key=lambda axis: -x.shape[axis] % 4 / x.shape[axis])


def _winograd(axis: int, parts: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes a 3 x 3 convolution by F(4, 3) along an axis, in parts."""
    padding = (0, 1) if axis == 1 else (1, 0)
    return winograd.convolve_same(x, kernel, axis, lambda x, k: conv2d(x, k, (1, 1), padding), parts=parts)


def _parts(x: Float[Array, "n h w i"], kernel: Float[Array, "kh kw i o"]) -> int:
    """Returns the number of parts of `_PART` bytes or more, input and output together, of a large convolution."""
    n, size = x.shape[0], x.dtype.itemsize * (x.size + x.size // x.shape[-1] * kernel.shape[-1])
    return max(p for p in range(1, n + 1) if n % p == 0 and (p == 1 or size >= max(p * _PART, _LARGE)))


class Conv3D(nn.Module):
    """3-D convolution with symmetric padding; computes in the dtype of its input.

    Attributes:
        features: output channels.
        kernel_size, strides, padding: (time, height, width).
        use_bias: add a learned bias.
        lowering: see `conv3d`.
        kernel_init: initialiser of the kernel, (T, H, W, in, out).
    """

    features: int
    kernel_size: Triple
    strides: Triple = (1, 1, 1)
    padding: Triple = (0, 0, 0)
    use_bias: bool = False
    lowering: Lowering = "auto"
    kernel_init: Callable[..., jax.Array] = _HE_NORMAL

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t h w i"],
        scale: Float[Array, " o"] | None = None,
        shift: Float[Array, " o"] | None = None,
    ) -> Float[Array, "b t2 h2 w2 o"]:
        """Returns conv(x) * scale + shift; the scale is applied as `avsd_jax.nn.conv2d.Conv2D` does."""
        kernel = self.learned_kernel(x.shape[-1])
        on_cpu = jax.default_backend() == "cpu"
        if scale is not None and not on_cpu:
            kernel = kernel * scale
        y = conv3d(x, kernel.astype(x.dtype), self.strides, self.padding, self.lowering)
        if scale is not None and on_cpu:
            y = y * scale.astype(x.dtype)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)
        return y if shift is None else y + shift.astype(x.dtype)

    def learned_kernel(self, channels: int) -> Float[Array, "t h w i o"]:
        """Returns the kernel for inputs of so many channels; within `__call__` alone."""
        return self.param("kernel", self.kernel_init, (*self.kernel_size, channels, self.features))
