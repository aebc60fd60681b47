"""Plain concatenation (the survey's fig. 11a): the audio vector, tiled over the grid, joined on channels."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.conv3d import Conv3D


class Fusion(nn.Module):
    """ReLU(1x1x1 convolution of [visual, tiled audio]) with the channels of the visual feature.

    The audio steps are averaged into one vector. The ReLU is where the two meet: without it the convolution
    and the decoder's first one would be one linear map, in which the sound only adds the same constant
    everywhere.
    """

    @nn.compact
    def __call__(
        self, visual: Float[Array, "b t h w c"], audio: Float[Array, "b n c2"], train: bool = False
    ) -> Float[Array, "b t h w c"]:
        """Fuses the two features.

        Args:
            visual: [B, T, H, W, C].
            audio: [B, N, C'], any number of steps and channels.
            train: not read.
        """
        vector = jnp.mean(audio, axis=1)[:, None, None, None]
        tiled = jnp.broadcast_to(vector, (*visual.shape[:-1], vector.shape[-1]))
        joined = jnp.concatenate([visual, tiled.astype(visual.dtype)], axis=-1)
        conv = Conv3D(visual.shape[-1], (1, 1, 1), use_bias=True, name="conv")
        return nn.relu(conv(joined))
