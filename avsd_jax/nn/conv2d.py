"""2-D convolutions: one with groups whose kernel a norm can be folded into, and the transposed one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

_HE_NORMAL = nn.initializers.he_normal()


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
        """conv(x) * scale + shift, the scale being applied to the kernel (it is small, the output large)."""
        shape = (self.size, self.size, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        if scale is not None:
            kernel = kernel * scale
        pad, step = (self.size // 2,) * 2, (self.stride,) * 2
        y = lax.conv_general_dilated(
            x,
            kernel.astype(x.dtype),
            step,
            (pad, pad),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=self.groups,
        )
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
        """[B, h, w, I] -> [B, (h - 1) * stride + size, (w - 1) * stride + size, features]."""
        kernel = self.param("kernel", self.kernel_init, (self.size, self.size, x.shape[-1], self.features))
        y = conv_transpose(x, kernel.astype(x.dtype), self.stride)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)
        return y


def conv_transpose(
    x: Float[Array, "b h w i"], kernel: Float[Array, "k k i o"], stride: int
) -> Float[Array, "b h2 w2 o"]:
    """Transposed convolution without padding, as a convolution at the size of the input.

    The s * s outputs that share their inputs, s being the stride, become channels of one small convolution, which are
    then spread out. Dilating the input instead would multiply zeros, s * s - 1 of every s * s.

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
    pad = (taps - 1, taps - 1)
    y = lax.conv_general_dilated(x, phases, (1, 1), (pad, pad), dimension_numbers=("NHWC", "HWIO", "NHWC"))
    rows, columns = y.shape[1:3]
    y = y.reshape(b, rows, columns, stride, stride, o).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(b, rows * stride, columns * stride, o)
    return y[:, : (h - 1) * stride + size, : (w - 1) * stride + size]
