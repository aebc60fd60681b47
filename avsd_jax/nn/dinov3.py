"""The vision transformers of DINOv3 (Simeoni et al., 2025): patches of 16 x 16, register tokens, rotary positions.

tokens = [class, registers, patches]; in each block x += s1 attention(norm(x)), x += s2 perceptron(norm(x)). Positions
enter by rotations of the queries and keys of patches alone. Names are those of the published checkpoints' keys.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.nn.lora import LoRADense

PATCH = 16
_NORMAL = nn.initializers.normal(0.02)

Rotation = tuple[Float[Array, "p q"], Float[Array, "p q"]]

# Exact variances, as PyTorch computes them.
LayerNorm = functools.partial(nn.LayerNorm, epsilon=1e-5, use_fast_variance=False)


def coordinates(height: int, width: int) -> Float[np.ndarray, "n 2"]:
    """Returns (y, x) of the centres of patches, row by row, each from -1 to 1 over its own side."""
    rows, columns = (2 * (np.arange(size, dtype=np.float32) + np.float32(0.5)) / size - 1 for size in (height, width))
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)


def rotation(places: Float[Array, "p 2"], features: int, base: float) -> Rotation:
    """Returns sine and cosine of the angles by which features are rotated, in float32.

    A quarter of the features turns with y, a quarter with x, at periods from 1 to almost `base`; the other half of the
    features are their partners, and turn likewise.

    Args:
        places: coordinates of the patches.
        features: of a head, a multiple of 4.
        base: the longest period.
    """
    quarter = features // 4
    periods = jnp.float32(base) ** (2 * jnp.arange(quarter, dtype=jnp.float32) / (features // 2))
    angles = 2 * math.pi * jnp.float32(places)[:, :, None] / periods
    angles = jnp.tile(angles.reshape(-1, 2 * quarter), 2)
    return jnp.sin(angles), jnp.cos(angles)


def rotate(x: Float[Array, "b n h d"], turn: Rotation) -> Float[Array, "b n h d"]:
    """Rotates the last tokens, as many as there are angles, in float32; those before stay."""
    sine, cosine = (part[:, None] for part in turn)
    before = x.shape[1] - sine.shape[0]
    patches = x[:, before:].astype(jnp.float32)
    one, two = jnp.split(patches, 2, axis=-1)
    turned = patches * cosine + jnp.concatenate([-two, one], axis=-1) * sine
    return jnp.concatenate([x[:, :before], turned.astype(x.dtype)], axis=1)


class Attention(nn.Module):
    """Multi-head self-attention; the keys have no bias, although the checkpoints hold one.

    Attributes:
        heads: number of heads.
        rank, alpha, dropout: of the learned change of both layers, see `avsd_jax.nn.lora.LoRADense`.
    """

    heads: int
    rank: int = 0
    alpha: float = 64.0
    dropout: float = 0.05

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"], turn: Rotation, train: bool) -> Float[Array, "b n c"]:
        """Attends over the tokens."""
        b, n, size = x.shape
        learned = {"rank": self.rank, "alpha": self.alpha, "dropout": self.dropout}
        packed = LoRADense(3 * size, without_bias=(size, 2 * size), name="qkv", **learned)(x, train)
        packed = packed.reshape(b, n, 3, self.heads, size // self.heads)
        query, key = (rotate(packed[:, :, i], turn) for i in (0, 1))
        mixed = jax.nn.dot_product_attention(query, key, packed[:, :, 2])
        return LoRADense(size, name="proj", **learned)(mixed.reshape(b, n, size), train)


class Perceptron(nn.Module):
    """Two dense layers with a GELU between.

    Attributes:
        hidden: features between.
    """

    hidden: int

    @nn.compact
    def __call__(self, x: Float[Array, "*n c"]) -> Float[Array, "*n c"]:
        """Maps vectors to vectors of the same size."""
        return nn.Dense(x.shape[-1], name="fc2")(nn.gelu(nn.Dense(self.hidden, name="fc1")(x), approximate=False))


class Block(nn.Module):
    """Attention and a perceptron, each scaled channel by channel and added.

    Attributes:
        attention: makes the attention, of a name.
        mlp_ratio: hidden features of the perceptron, relative to the others.
    """

    attention: functools.partial
    mlp_ratio: float = 4.0
    recomputed = True  # see avsd_jax/training/remat.py

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"], turn: Rotation, train: bool) -> Float[Array, "b n c"]:
        """Maps tokens to tokens."""
        size = x.shape[-1]
        small = nn.initializers.constant(1e-5)
        scales = [self.param(f"ls{i}_gamma", small, (size,)).astype(x.dtype) for i in (1, 2)]
        x = x + scales[0] * self.attention(name="attn")(LayerNorm(name="norm1")(x), turn, train)
        return x + scales[1] * Perceptron(int(size * self.mlp_ratio), name="mlp")(LayerNorm(name="norm2")(x))


class DinoV3(nn.Module):
    """DINOv3's vision transformer; the defaults are those of ViT-L/16.

    Attributes:
        features: of a token.
        depth: number of blocks.
        heads: of the attention; a head has a multiple of 4 features.
        mlp_ratio: see `Block`.
        registers: tokens beside the class and the patches.
        levels: blocks after which the patches are returned, from 0.
        base: see `rotation`.
        rescale: each training step and block stretches all coordinates by a factor drawn log-uniformly between
            1 / rescale and rescale; the published 2. 1: none.
        rank, alpha, dropout: see `Attention`.
    """

    features: int = 1024
    depth: int = 24
    heads: int = 16
    mlp_ratio: float = 4.0
    registers: int = 4
    levels: Sequence[int] = (5, 11, 17, 23)
    base: float = 100.0
    rescale: float = 2.0
    rank: int = 0
    alpha: float = 64.0
    dropout: float = 0.05

    @nn.compact
    def __call__(self, images: Float[Array, "b h w 3"], train: bool = False) -> list[Float[Array, "b h2 w2 c"]]:
        """Encodes images.

        Args:
            images: ImageNet-normalised RGB, height and width in multiples of 16.
            train: apply dropout and stretch coordinates (needs an rng named "dropout").

        Returns:
            After each block of `levels`, the patches behind the last norm, [B, H/16, W/16, C].

        Raises:
            InputError: height or width is no multiple of 16, or the heads do not divide the features by 4.
        """
        b, height, width = images.shape[0], images.shape[1] // PATCH, images.shape[2] // PATCH
        if images.shape[1] % PATCH or images.shape[2] % PATCH:
            raise InputError(
                f"frames have {images.shape[1]}x{images.shape[2]} pixels: give DINOv3 multiples of {PATCH}"
            )
        if self.features % (4 * self.heads):
            raise InputError(f"{self.features} features in {self.heads} heads: give a multiple of {4 * self.heads}")
        x = self._tokens(images)
        norm = LayerNorm(name="norm")
        attention = functools.partial(Attention, self.heads, self.rank, self.alpha, self.dropout)
        places = jnp.asarray(coordinates(height, width))
        taken = []
        for number in range(self.depth):
            turn = rotation(places * self._stretch(train), self.features // self.heads, self.base)
            x = Block(attention, self.mlp_ratio, name=f"blocks_{number}")(x, turn, train)
            if number in self.levels:
                taken.append(norm(x)[:, 1 + self.registers :].reshape(b, height, width, self.features))
        return taken

    def _tokens(self, images: Float[Array, "b h w 3"]) -> Float[Array, "b n c"]:
        """Returns the first block's tokens."""
        patches = nn.Conv(self.features, (PATCH, PATCH), (PATCH, PATCH), "VALID", name="patch_embed_proj")(images)
        patches = patches.reshape(images.shape[0], -1, self.features)
        ahead = [self.param("cls_token", _NORMAL, (1, 1, self.features))]
        if self.registers:
            ahead.append(self.param("storage_tokens", _NORMAL, (1, self.registers, self.features)))
        first = jnp.concatenate(ahead, axis=1).astype(patches.dtype)
        return jnp.concatenate([jnp.broadcast_to(first, (images.shape[0], *first.shape[1:])), patches], axis=1)

    def _stretch(self, train: bool) -> Float[Array, ""] | float:
        if not train or self.rescale == 1:
            return 1.0
        most = math.log(self.rescale)
        return jnp.exp(jax.random.uniform(self.make_rng("dropout"), (), minval=-most, maxval=most))
