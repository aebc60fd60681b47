"""AViNet's bilinear fusion followed by a transformer.

The official `VideoAudioSaliencyModel(use_transformer=True)`: the fused feature is reduced to a few channels,
each of which is one token whose features are the grid's positions.
"""

from einops import rearrange
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.models.fusions.bilinear import Bilinear
from avsd_jax.nn.conv3d import Conv3D
from avsd_jax.nn.transformer import Transformer


class Fusion(nn.Module):
    """Bilinear fusion, then a transformer over channels; only fits one video size, clip length and audio length.

    Attributes:
        channels: number of tokens.
        num_layers, num_heads: of the transformer; the heads must divide the number of grid positions.
    """

    channels: int = 32
    num_layers: int = 3
    num_heads: int = 4

    @nn.compact
    def __call__(
        self, visual: Float[Array, "b t h w c"], audio: Float[Array, "b n c2"], train: bool = False
    ) -> Float[Array, "b t h w c"]:
        """Fuses the two features.

        Args:
            visual: [B, T, H, W, C].
            audio: [B, N, C], as many channels as `visual`.
            train: apply the transformer's dropout.
        """

        def conv(features: int, name: str) -> Conv3D:
            return Conv3D(features, (1, 1, 1), use_bias=True, name=name)

        _, t, h, w, c = visual.shape
        x = conv(self.channels, "conv_in_1x1")(Bilinear(name="bilinear")(visual, audio))
        tokens = rearrange(x, "b t h w c -> b c (t h w)")
        tokens = Transformer(self.num_layers, self.num_heads, name="transformer")(tokens, train)
        return conv(c, "conv_out_1x1")(rearrange(tokens, "b c (t h w) -> b t h w c", t=t, h=h, w=w))
