"""STANet's convolution over the three frames of a clip, which mixes time and channels.

The official code stacks the frames' maps as (frames, channels) and lets a 3-D convolution read the same memory as
(channels, frames): channel c at depth d is plane 3 c + d of the time-major list. A kernel that spans the whole depth
is then a 1 x 1 convolution over all planes, with its weights in that order.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float


class FrameMix(nn.Module):
    """The (3, 1, 1) convolution over the memory in that order.

    Attributes:
        features: output channels.
    """

    features: int

    @nn.compact
    def __call__(self, frames: Float[Array, "b n h w c"]) -> Float[Array, "b h w o"]:
        """Returns one map from the maps of all frames.

        Args:
            frames: [B, N, H, W, C] in the order in which the official code lists them; N is 3 in all releases.
        """
        number, channels = frames.shape[1], frames.shape[-1]
        initial = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
        kernel = self.param("kernel", initial, (number, 1, 1, channels, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        planes = jnp.moveaxis(frames, 1, -2).reshape(len(frames), *frames.shape[2:4], number * channels)
        weights = jnp.swapaxes(kernel[:, 0, 0], 0, 1).reshape(number * channels, self.features)
        product = jnp.einsum("bhwp,po->bhwo", planes, weights.astype(planes.dtype))
        return product + bias.astype(planes.dtype)
