"""STAViS's sound source localisation (Tsiami et al., CVPR 2020): a bilinear map of each location and the audio.

The survey counts it among the bilinear fusions (fig. 11c). Unlike AViNet's, it works on channels, for each location by
itself, so its weights fit any size and length.
"""

import math

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

_HE_FAN_OUT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def bilinear_places(
    visual: Float[Array, "b p i"],
    audio: Float[Array, "b j"],
    weight: Float[Array, "k i j"],
    bias: Float[Array, " k"],
) -> Float[Array, "b p k"]:
    """Returns out[b, p, k] = sum_ij visual[b, p, i] weight[k, i, j] audio[b, j] + bias[k].

    The sum over the audio comes first, once for all locations: a hundredth of the work.
    """
    heard = jnp.einsum("kij,bj->bik", weight, audio)
    return visual @ heard + bias


class Bilinear(nn.Module):
    """PyTorch's Bilinear layer, `weight` (out, visual, audio) and `bias`, with STAViS's initial values.

    Attributes:
        features: output channels.
    """

    features: int

    @nn.compact
    def __call__(self, visual: Float[Array, "b p i"], audio: Float[Array, "b j"]) -> Float[Array, "b p k"]:
        """Pairs one audio vector with all locations."""
        shape = (self.features, visual.shape[-1], audio.shape[-1])
        weight = self.param("weight", nn.initializers.normal(math.sqrt(2 / (shape[0] * shape[2]))), shape)
        bias = self.param("bias", nn.initializers.zeros, shape[:1])
        return bilinear_places(visual, audio, weight.astype(visual.dtype), bias.astype(visual.dtype))


class Fusion(nn.Module):
    """Both features reduced to `hidden` channels, then a bilinear map without activation.

    Attributes:
        hidden: channels of each reduced feature.
        features: output channels; 0 keeps those of the visual feature, which a decoder in its place needs.
    """

    hidden: int = 128
    features: int = 64

    @nn.compact
    def __call__(
        self, visual: Float[Array, "b t h w c"], audio: Float[Array, "b n c2"], train: bool = False
    ) -> Float[Array, "b t h w c3"]:
        """Fuses the two features.

        Args:
            visual: [B, T, H, W, C].
            audio: [B, N, C'], any number of steps, which are averaged, and channels.
            train: unused.

        Returns:
            [B, T, H, W, features].
        """
        dense = dict(kernel_init=_HE_FAN_OUT)
        seen = nn.relu(nn.Dense(self.hidden, **dense, name="affine_rgb")(visual))
        heard = nn.relu(nn.Dense(self.hidden, **dense, name="affine_audio")(jnp.mean(audio, axis=1)))
        places = seen.reshape(seen.shape[0], -1, self.hidden)
        out = Bilinear(self.features or visual.shape[-1], name="w_a_rgb")(places, heard)
        return out.reshape(*visual.shape[:-1], out.shape[-1])
