"""Transformer over visual positions and audio steps: the official `VideoAudioSaliencyFusionModel`."""

import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.conv3d import Conv3D
from avsd_jax.nn.transformer import Transformer


class Fusion(nn.Module):
    """Transformer over all positions and audio steps; its positional encoding only fits one grid and audio length.

    Each modality is reduced to half the channels; after the transformer every position is concatenated with the
    mean of the audio tokens, which restores the channels of the visual feature.

    Attributes:
        num_layers, num_heads: of the transformer.
    """

    num_layers: int = 3
    num_heads: int = 4

    @nn.compact
    def __call__(
        self, visual: Float[Array, "b t h w c"], audio: Float[Array, "b n c2"], train: bool = False
    ) -> Float[Array, "b t h w c"]:
        """Fuses the two features.

        Args:
            visual: [B, T, H, W, C], C even.
            audio: [B, N, C'].
            train: apply the transformer's dropout.
        """
        _, t, h, w, c = visual.shape
        reduced = Conv3D(c // 2, (1, 1, 1), use_bias=True, name="conv_in_1x1")(visual)
        positions = rearrange(reduced, "b t h w c -> b (t h w) c")
        steps = nn.Conv(c // 2, (1,), name="audio_conv_1x1")(audio)
        tokens = jnp.concatenate([positions, steps], axis=1)
        tokens = Transformer(self.num_layers, self.num_heads, name="transformer")(tokens, train)
        positions, steps = jnp.split(tokens, [t * h * w], axis=1)
        mean = jnp.broadcast_to(jnp.mean(steps, axis=1, keepdims=True), positions.shape)
        return rearrange(jnp.concatenate([positions, mean], -1), "b (t h w) c -> b t h w c", t=t, h=h, w=w)
