"""Batch normalisation that can be folded into the convolution before it."""

import jax
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float


class BatchNorm(nn.BatchNorm):
    """Flax's BatchNorm with S3D's constants and a view of itself as one affine map.

    `momentum` is Flax's: new = momentum * old + (1 - momentum) * batch; PyTorch's 0.001 is 0.999 here. Flax keeps
    the biased batch variance in its running statistics where PyTorch keeps the unbiased one.
    """

    momentum: float = 0.999
    epsilon: float = 1e-3

    def affine(self) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
        """(scale, shift) such that inference equals `x * scale + shift`; the variables must exist already."""
        stats, params = self.variables["batch_stats"], self.variables["params"]
        scale = params["scale"] * lax.rsqrt(stats["var"] + self.epsilon)
        return scale, params["bias"] - stats["mean"] * scale


def conv_norm_relu(conv: nn.Module, norm: BatchNorm, x: jax.Array, train: bool) -> Float[Array, "b t h w c"]:
    """ReLU(BatchNorm(conv(x))) in the dtype of `x`; at inference the norm is folded into the kernel.

    Args:
        conv: a bias-free `Conv3D`.
        norm: the norm over its output channels.
        x: [B, T, H, W, C].
        train: normalise by batch statistics and update the running ones.
    """
    if train or norm.is_initializing():
        return nn.relu(norm(conv(x), use_running_average=not train)).astype(x.dtype)
    scale, shift = norm.affine()
    return nn.relu(conv(x, scale, shift))
