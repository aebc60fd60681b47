"""Spatial alignment (the survey's fig. 11b): audio highlights locations.

The survey describes the family in words only: the audio feature, a vector with as many entries as the visual
feature has channels, is "de-convolved or copied to correlate to each spatial location", the agreement of the
two highlights regions, and a residual connection may preserve the visual feature. The options below are these choices.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.errors import InputError

_ALIGN = ("copy", "deconv")
_COMBINE = ("multiply", "correlate")
_EPSILON = 1e-6


def cosine(x: Float[Array, "b t h w c"], y: Float[Array, "b t h w c"]) -> Float[Array, "b t h w 1"]:
    """Returns the cosine of the angle between two vectors at each location, 0 where one of them is zero."""
    square = jnp.sum(x * x, -1, keepdims=True) * jnp.sum(y * y, -1, keepdims=True)
    return jnp.sum(x * y, -1, keepdims=True) / jnp.sqrt(square + _EPSILON)


class Fusion(nn.Module):
    """Visual feature highlighted where it agrees with the audio.

    Attributes:
        align: how the audio vector reaches each location. "copy": the same vector everywhere. "deconv": a
            transposed convolution from the one audio position to the whole grid, separable (a dense layer
            over channels, then one weight for each channel and location): its weights fit one grid, and it
            starts as a copy.
        combine: "multiply": product channel by channel, from which the decoder can compute a correlation.
            "correlate": the cosine of audio and visual vector at each location, scaled and squashed to
            a weight in [0, 1] for all channels.
        residual: add the visual feature to the result.
    """

    align: str = "copy"
    combine: str = "multiply"
    residual: bool = True

    @nn.compact
    def __call__(
        self, visual: Float[Array, "b t h w c"], audio: Float[Array, "b n c2"], train: bool = False
    ) -> Float[Array, "b t h w c"]:
        """Fuses the two features.

        Args:
            visual: [B, T, H, W, C].
            audio: [B, N, C'], any number of steps and channels.
            train: unused.

        Raises:
            InputError: an unknown `align` or `combine`.
        """
        if self.align not in _ALIGN:
            raise InputError(f"unknown align {self.align!r}: choose one of {', '.join(_ALIGN)}")
        if self.combine not in _COMBINE:
            raise InputError(f"unknown combine {self.combine!r}: choose one of {', '.join(_COMBINE)}")
        vector = nn.Dense(visual.shape[-1], name="project")(jnp.mean(audio, axis=1))
        aligned = jnp.broadcast_to(vector[:, None, None, None], visual.shape)
        if self.align == "deconv":
            aligned = aligned * self.param("deconv", nn.initializers.ones, visual.shape[1:])
        if self.combine == "multiply":
            fused = visual * aligned
        else:
            scale = self.param("scale", nn.initializers.constant(5.0), ())
            shift = self.param("shift", nn.initializers.zeros, ())
            fused = visual * nn.sigmoid(scale * cosine(visual, aligned) + shift)
        return visual + fused if self.residual else fused
