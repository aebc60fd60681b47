"""Concatenation (the survey's fig. 11a) of the visual feature and the audio vector, tiled over the grid."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.conv3d import Conv3D


class Fusion(nn.Module):
    """ReLU(1x1x1 convolution of [visual, tiled audio]) with the channels of the visual feature.

    The audio steps are averaged to one vector. The ReLU makes the two interact: without it, this convolution and the
    decoder's first one would be a single linear map, in which the audio only adds the same constant everywhere.
    """

    @nn.compact
    def __call__(
        self, visual: Float[Array, "b t h w c"], audio: Float[Array, "b n c2"], train: bool = False
    ) -> Float[Array, "b t h w c"]:
        """Fuses the two features.

        Args:
            visual: [B, T, H, W, C].
            audio: [B, N, C'], any number of steps and channels.
            train: unused.
        """
        vector = jnp.mean(audio, axis=1)[:, None, None, None]
        tiled = jnp.broadcast_to(vector, (*visual.shape[:-1], vector.shape[-1]))
        joined = jnp.concatenate([visual, tiled.astype(visual.dtype)], axis=-1)
        conv = Conv3D(visual.shape[-1], (1, 1, 1), use_bias=True, name="conv")
        return nn.relu(conv(joined))
