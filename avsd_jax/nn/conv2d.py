"""2-D convolutions: grouped, as a layer into whose kernel a norm can be folded, and transposed."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from avsd_jax.nn.conv_gradient import conv_by_taps, trained_as

_HE_NORMAL = nn.initializers.he_normal()

# On a CPU, groups are merged into dense convolutions of up to so many channels at inference, and in training. For fewer
# ones XLA takes longer to compile, and has slower gradients.
JOINED, JOINED_IN_TRAINING = 32, 64


def conv2d(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "kh kw j o"],
    stride: int = 1,
    groups: int = 1,
    joined: int | None = None,
) -> Float[Array, "b h2 w2 o"]:
    """Computes a grouped 2-D convolution (cross-correlation), padded to keep the size at stride 1: j = i / groups.

    XLA's CPU backend is slow at groups, and a hundred times slower at their gradients than at dense convolutions. So
    there, neighbouring groups are merged into one dense convolution with zeros between them, which changes no sum.

    Args:
        x: input.
        kernel: weights.
        stride: in both directions.
        groups: channels are convolved in this many separate groups.
        joined: channels up to which groups are merged; 0 leaves them to XLA; by default as many as is fast.
    """
    if groups > 1 and joined is None and jax.default_backend() == "cpu":
        forms = (partial(_merged, stride, groups, channels) for channels in (JOINED_IN_TRAINING, JOINED))
        return trained_as(*forms, x, kernel)
    if groups > 1 and joined:
        return _merged(stride, groups, joined, x, kernel)
    return _convolve(x, kernel, stride, groups)


def _merged(stride: int, groups: int, channels: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes a grouped convolution by dense ones of so many channels, or more if a group has more."""
    fits = (n for n in range(1, groups + 1) if groups % n == 0 and n * kernel.shape[2] <= channels)
    size = max(fits, default=1)
    parts = groups // size
    xs, kernels = jnp.split(x, parts, axis=-1), jnp.split(kernel, parts, axis=-1)
    ys = [_convolve(x, _dense(kernel, size), stride) for x, kernel in zip(xs, kernels, strict=True)]
    return jnp.concatenate(ys, axis=-1)


def _convolve(x: jax.Array, kernel: jax.Array, stride: int, groups: int = 1) -> jax.Array:
    if kernel.shape[:2] == (1, 1) and groups == 1:
        return x[:, ::stride, ::stride] @ kernel[0, 0]
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(size // 2, size // 2) for size in kernel.shape[:2]],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _dense(kernel: Float[Array, "kh kw j o"], groups: int) -> Float[Array, "kh kw i o"]:
    """Returns the kernel of the same convolution without groups."""
    height, width, j, o = kernel.shape
    grouped = kernel.reshape(height, width, 1, j, groups, o // groups)
    own = jnp.eye(groups, dtype=kernel.dtype)[:, None, :, None]
    return (grouped * own).reshape(height, width, groups * j, o)


class Conv2D(nn.Module):
    """Square bias-free 2-D convolution that keeps the size at stride 1; computes in the dtype of its input.

    Attributes:
        features: output channels.
        size: of the kernel, odd; the padding is half of it.
        stride: in both directions.
        groups: channels are convolved in this many separate groups.
        kernel_init: initialiser of the kernel, (H, W, in / groups, out).
    """

    features: int
    size: int = 1
    stride: int = 1
    groups: int = 1
    kernel_init: Callable[..., jax.Array] = _HE_NORMAL

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w i"],
        scale: Float[Array, " o"] | None = None,
        shift: Float[Array, " o"] | None = None,
    ) -> Float[Array, "b h2 w2 o"]:
        """Returns conv(x) * scale + shift.

        The scale is applied to the kernel, for cuDNN to add shift and ReLU, but on a CPU to the output, by the pass
        that does so there: kernels of 1x1 are as large as their output, and another pass over them takes time.
        """
        shape = (self.size, self.size, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        on_cpu = jax.default_backend() == "cpu"
        if scale is not None and not on_cpu:
            kernel = kernel * scale
        y = conv2d(x, kernel.astype(x.dtype), self.stride, self.groups)
        if scale is not None and on_cpu:
            y = y * scale.astype(x.dtype)
        return y if shift is None else y + shift.astype(x.dtype)


class Deconv2D(nn.Module):
    """Transposed 2-D convolution without padding: n positions become (n - 1) * stride + size.

    The kernel is that of the equivalent convolution, (H, W, in, out): PyTorch's ConvTranspose2d stores (in, out, H, W),
    flipped in both directions.

    Attributes:
        features: output channels.
        size, stride: in both directions.
        use_bias: add a learned bias.
        kernel_init: initialiser of the kernel.
    """

    features: int
    size: int
    stride: int = 1
    use_bias: bool = True
    kernel_init: Callable[..., jax.Array] = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """Maps [B, h, w, I] to [B, (h - 1) * stride + size, (w - 1) * stride + size, features]."""
        kernel = self.param("kernel", self.kernel_init, (self.size, self.size, x.shape[-1], self.features))
        y = conv_transpose(x, kernel.astype(x.dtype), self.stride)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)
        return y


def conv_transpose(
    x: Float[Array, "b h w i"], kernel: Float[Array, "k k i o"], stride: int
) -> Float[Array, "b h2 w2 o"]:
    """Computes a transposed convolution without padding, as a convolution at the size of the input.

    The s * s outputs that share their inputs, s being the stride, become channels of one small convolution, which are
    then rearranged. Dilating the input instead would multiply zeros, s * s - 1 of every s * s.

    Args:
        x: input.
        kernel: of the equivalent convolution on the dilated input.
        stride: in both directions.

    Returns:
        (h - 1) * stride + k rows, and columns likewise.
    """
    (b, h, w, i), (size, _, _, o) = x.shape, kernel.shape
    taps = -(-size // stride)
    # Output q * s + r takes tap t from input q - (taps - 1) + t, weighted by entry size - 1 - ((taps - 1 - t) * s + r).
    short = taps * stride - size
    padded = jnp.pad(kernel, [(short, 0), (short, 0), (0, 0), (0, 0)])
    phases = padded.reshape(taps, stride, taps, stride, i, o)[:, ::-1, :, ::-1]
    phases = phases.transpose(0, 2, 4, 1, 3, 5).reshape(taps, taps, i, stride * stride * o)
    y = conv_by_taps(x, phases, (taps - 1, taps - 1))
    rows, columns = y.shape[1:3]
    y = y.reshape(b, rows, columns, stride, stride, o).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(b, rows * stride, columns * stride, o)
    return y[:, : (h - 1) * stride + size, : (w - 1) * stride + size]
