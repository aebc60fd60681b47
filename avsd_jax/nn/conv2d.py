"""2-D convolutions: one with groups whose kernel a norm can be folded into, and the transposed one."""

from collections.abc import Callable

import jax
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
    """

    features: int
    size: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """[B, h, w, I] -> [B, (h - 1) * stride + size, (w - 1) * stride + size, features]."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        step = (self.stride,) * 2
        y = lax.conv_transpose(x, kernel.astype(x.dtype), step, "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return y + bias.astype(x.dtype)
