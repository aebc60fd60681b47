"""From one score of audio-visual agreement to the two logits that every classifier gives."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float


class ScoreLogits(nn.Module):
    """A learned scale and shift of a score: class 1's probability is their sigmoid.

    Attributes:
        scale, shift: what training starts from.
    """

    scale: float
    shift: float

    @nn.compact
    def __call__(self, score: Float[Array, " b"]) -> Float[Array, "b 2"]:
        """Maps [B] to [B, 2], the first logit being zero."""
        scale = self.param("scale", nn.initializers.constant(self.scale), ())
        shift = self.param("shift", nn.initializers.constant(self.shift), ())
        logit = score * scale.astype(score.dtype) + shift.astype(score.dtype)
        return jnp.stack([jnp.zeros_like(logit), logit], axis=-1)
