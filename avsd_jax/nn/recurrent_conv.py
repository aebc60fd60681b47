"""Recurrent convolutional layers (Liang and Hu, CVPR 2015) with Caffe's local response normalisation."""

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float


def response_norm(
    x: Float[Array, "*b c"], size: int = 7, alpha: float = 1e-3, beta: float = 0.75
) -> Float[Array, "*b c"]:
    """Divides each value by (1 + alpha / size * the sum of squares of `size` neighbouring channels) ** beta.

    Caffe's LRN layer across channels; channels outside count as 0.
    """
    channels = np.arange(x.shape[-1])
    near = jnp.asarray(np.abs(channels[:, None] - channels) <= size // 2, x.dtype)
    # A product of matrices: with sums of shifted arrays, SBF's network takes one and a half times as long on a CPU.
    total = jnp.matmul(jnp.square(x), near, precision="highest")
    return x * (1 + alpha / size * total) ** -beta


class RecurrentConv(nn.Module):
    """A convolution whose output is refined in three steps by a recurrent one.

    Attributes:
        features: output channels.
        level: number of the level, in the names of the two layers, Caffe's `convRCL<level>` and `convRCL<level>a`.
    """

    features: int
    level: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        """Returns the normalised state after three steps."""
        feed = nn.Conv(self.features, (3, 3), name=f"convRCL{self.level}")(x)
        recur = nn.Conv(self.features, (3, 3), use_bias=False, name=f"convRCL{self.level}a")
        state = response_norm(nn.relu(feed))
        for _ in range(3):
            state = response_norm(nn.relu(feed + recur(state)))
        return state
