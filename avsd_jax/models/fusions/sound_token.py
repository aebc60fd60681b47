"""AAM's fusion: each place attends to the audio, which shifts and scales the feature, as far as the two are related.

With a single audio vector attention has one key, so what is attended to is the same everywhere.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.nn.dinov3 import LayerNorm


class CrossAttention(nn.Module):
    """Multi-head attention of places to audio vectors; the keys are the values.

    Attributes:
        heads: number of heads.
        dropout: share of the attention weights that training drops.
    """

    heads: int
    dropout: float

    @nn.compact
    def __call__(
        self, places: Float[Array, "b n c"], audio: Float[Array, "b k c"], train: bool
    ) -> Float[Array, "b n c"]:
        """Returns what each place attends to; training drops attention weights."""
        size = places.shape[-1]
        # One packed projection to queries, keys and values, as in PyTorch.
        packed = nn.Dense(3 * size, name="in_proj")
        query = packed(places)[..., :size]
        key, value = jnp.split(packed(audio)[..., size:], 2, axis=-1)
        query, key, value = (x.reshape(*x.shape[:2], self.heads, -1) for x in (query, key, value))
        logits = jnp.einsum("bqhd,bkhd->bhqk", query, key) * (size // self.heads) ** -0.5
        weights = nn.Dropout(self.dropout, deterministic=not train)(nn.softmax(logits))
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(places.shape)
        return nn.Dense(size, name="out_proj")(mixed)


class Fusion(nn.Module):
    """The fusion; relevance starts low and the shift at zero.

    Attributes:
        hidden: channels in which both are compared; published: 256.
        heads: of the attention; a divisor of these channels.
        dropout: share of the attention weights that training drops.
    """

    hidden: int = 256
    heads: int = 8
    dropout: float = 0.1

    @nn.compact
    def __call__(
        self, visual: Float[Array, "b t h w c"], audio: Float[Array, "b n c2"], train: bool = False
    ) -> Float[Array, "b t h w c"]:
        """Fuses the two features.

        Args:
            visual: [B, T, H, W, C].
            audio: [B, N, C'], any number of steps and channels.
            train: apply dropout (needs an rng named "dropout").

        Raises:
            InputError: the heads do not divide the channels.
        """
        if self.hidden % self.heads:
            raise InputError(f"sound_token: hidden={self.hidden} in {self.heads} heads: give a multiple")
        flat = visual.reshape(visual.shape[0], -1, visual.shape[-1])
        places, heard = nn.Dense(self.hidden, name="visual_proj")(flat), nn.Dense(self.hidden, name="audio_proj")(audio)
        both = jnp.concatenate([jnp.mean(places, axis=1), jnp.mean(heard, axis=1)], axis=-1)
        relevance = self._relevance(both)[:, None]
        attended = CrossAttention(self.heads, self.dropout, name="cross_attn")(places, heard, train)
        gamma, beta = jnp.split(self._film(attended), 2, axis=-1)
        mixed = places * (1 + relevance * jnp.tanh(gamma)) + relevance * beta
        out = nn.Dense(visual.shape[-1], name="out_proj")(mixed)
        return LayerNorm(name="norm")(out + flat).reshape(visual.shape)

    def _relevance(self, both: Float[Array, "b c"]) -> Float[Array, "b 1"]:
        hidden = nn.relu(nn.Dense(self.hidden, name="relevance_selector_0")(both))
        low = nn.initializers.constant(-1.0)
        return nn.sigmoid(nn.Dense(1, bias_init=low, name="relevance_selector_2")(hidden))

    def _film(self, attended: Float[Array, "b n c"]) -> Float[Array, "b n c2"]:
        zero = nn.initializers.zeros
        hidden: jax.Array = nn.relu(nn.Dense(self.hidden, name="film_generator_0")(attended))
        return nn.Dense(2 * self.hidden, kernel_init=zero, name="film_generator_2")(hidden)
