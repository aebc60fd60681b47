"""The transformer encoder of AViNet's variants: PyTorch's `nn.TransformerEncoder` with the defaults of version 1.4.

Post-norm, ReLU, no final norm, no scaling of the input. Submodule names follow the published checkpoints'
keys.
"""

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.errors import InputError

DROPOUT = 0.1
LAYER_NORM_EPSILON = 1e-5


def sinusoid(positions: int, features: int) -> Float[np.ndarray, "positions 1 features"]:
    """Returns the positional encoding of "Attention is all you need": even features sine, odd cosine, base 10000."""
    even = np.arange(0, features, 2)
    angle = np.arange(positions)[:, None] * np.exp(even * (-np.log(10000.0) / features))
    code = np.zeros((positions, 1, features), np.float32)
    code[:, 0, 0::2] = np.sin(angle)
    code[:, 0, 1::2] = np.cos(angle[:, : features // 2])
    return code


class PositionalEncoding(nn.Module):
    """Adds `pe`, a constant that a checkpoint may override.

    It is a buffer in the checkpoints, part of the state but not trained, and is therefore in `batch_stats`, the
    collection of state that no optimiser updates.
    """

    @nn.compact
    def __call__(self, tokens: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        """Returns the tokens plus the encoding of their position."""
        pe = self.variable("batch_stats", "pe", lambda: jnp.asarray(sinusoid(*tokens.shape[1:])))
        return tokens + pe.value[:, 0].astype(tokens.dtype)


class SelfAttention(nn.Module):
    """Multi-head self-attention with one packed projection to queries, keys and values, in this order."""

    num_heads: int

    @nn.compact
    def __call__(self, tokens: Float[Array, "b n d"], train: bool) -> Float[Array, "b n d"]:
        """Attends over the tokens; dropout on the attention weights in training."""
        b, n, d = tokens.shape
        packed = nn.Dense(3 * d, name="in_proj")(tokens).reshape(b, n, 3, self.num_heads, d // self.num_heads)
        query, key, value = packed[:, :, 0], packed[:, :, 1], packed[:, :, 2]
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) * (d // self.num_heads) ** -0.5
        weights = nn.Dropout(DROPOUT, deterministic=not train)(nn.softmax(scores))
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(b, n, d)
        return nn.Dense(d, name="out_proj")(mixed)


class EncoderLayer(nn.Module):
    """Self-attention, then a two-layer perceptron, each followed by a residual connection and LayerNorm."""

    num_heads: int

    @nn.compact
    def __call__(self, tokens: Float[Array, "b n d"], train: bool) -> Float[Array, "b n d"]:
        """Maps [B, N, D] to [B, N, D]."""
        d = tokens.shape[-1]
        attended = SelfAttention(self.num_heads, name="self_attn")(tokens, train)
        x = tokens + nn.Dropout(DROPOUT, deterministic=not train)(attended)
        x = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, name="norm1")(x)
        hidden = nn.Dropout(DROPOUT, deterministic=not train)(nn.relu(nn.Dense(d, name="linear1")(x)))
        x = x + nn.Dropout(DROPOUT, deterministic=not train)(nn.Dense(d, name="linear2")(hidden))
        return nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, name="norm2")(x)


class Layers(nn.Module):
    """A stack of `EncoderLayer`."""

    num_layers: int
    num_heads: int

    @nn.compact
    def __call__(self, tokens: Float[Array, "b n d"], train: bool) -> Float[Array, "b n d"]:
        """Maps [B, N, D] to [B, N, D]."""
        for layer in range(self.num_layers):
            tokens = EncoderLayer(self.num_heads, name=f"layers_{layer}")(tokens, train)
        return tokens


class Transformer(nn.Module):
    """Positional encoding and encoder layers.

    Attributes:
        num_layers: encoder layers.
        num_heads: attention heads; must divide the tokens' size.
    """

    num_layers: int = 3
    num_heads: int = 4

    @nn.compact
    def __call__(self, tokens: Float[Array, "b n d"], train: bool = False) -> Float[Array, "b n d"]:
        """Encodes tokens.

        Args:
            tokens: [B, N, D].
            train: apply dropout (needs an rng named "dropout").

        Raises:
            InputError: D is not a multiple of `num_heads`.
        """
        if tokens.shape[-1] % self.num_heads:
            raise InputError(
                f"tokens have {tokens.shape[-1]} features, not a multiple of num_heads={self.num_heads}: "
                "choose another number of heads or another input size"
            )
        x = PositionalEncoding(name="pos_encoder")(tokens)
        return Layers(self.num_layers, self.num_heads, name="transformer_encoder")(x, train)
