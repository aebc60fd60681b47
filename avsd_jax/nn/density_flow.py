"""AAM's temporal block: attention over time at each place, along which a density of saliency is carried.

A density u over the places, seen in each frame, is moved to other frames by the attention of its place, smoothed in
time, drawn back to what was seen, and raises the feature where it is high (the form of a Fokker-Planck equation: drift,
diffusion and assimilation). Attention, a perceptron and a mixer over space follow.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.nn.depthwise import DepthwiseConv2D
from avsd_jax.nn.dinov3 import LayerNorm, Perceptron

_EPSILON = 1e-6
# Frames that the learned embedding of time has; it is interpolated to the length of a clip.
_EMBEDDED = 64


class TimeAttention(nn.Module):
    """Self-attention over time whose logits are divided by a temperature, and its weights.

    Attributes:
        heads: number of heads.
        temperature: see above.
    """

    heads: int = 8
    temperature: float = 2.0

    @nn.compact
    def __call__(self, x: Float[Array, "b n t c"]) -> tuple[Float[Array, "b n t c"], Float[Array, "b n t t"]]:
        """Returns what each frame of each place attends to, and the weights, averaged over the heads."""
        size = x.shape[-1]
        packed = nn.Dense(3 * size, name="qkv")(x).reshape(*x.shape[:-1], 3, self.heads, size // self.heads)
        query, key, value = packed[..., 0, :, :], packed[..., 1, :, :], packed[..., 2, :, :]
        logits = jnp.einsum("bnqhd,bnkhd->bnhqk", query, key) * ((size // self.heads) ** -0.5 / self.temperature)
        weights = nn.softmax(logits)
        mixed = jnp.einsum("bnhqk,bnkhd->bnqhd", weights, value).reshape(x.shape)
        return nn.Dense(size, name="proj")(mixed), jnp.mean(weights, axis=2)


class DensityFlow(nn.Module):
    """The block; clips of any length.

    Attributes:
        heads: of the attention over time; a divisor of the channels.
        most: largest factor by which the density raises a feature.
    """

    heads: int = 8
    most: float = 0.5
    recomputed = True  # see avsd_jax/training/remat.py

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w c"]:
        """Maps the features of a clip's frames to others.

        Raises:
            InputError: the heads do not divide the channels.
        """
        b, t, h, w, size = x.shape
        if size % self.heads:
            raise InputError(f"{size} channels in {self.heads} heads over time: give level_channels in multiples")
        x = x + self._time(t, size)[:, None, None].astype(x.dtype)
        tokens = x.transpose(0, 2, 3, 1, 4).reshape(b, h * w, t, size)
        normed = LayerNorm(name="temporal_norm")(tokens)
        attended, weights = TimeAttention(self.heads, name="temporal_attn")(normed)
        density = self._density(tokens, normed, weights)
        alpha = self.most * nn.sigmoid(self.param("fp_alpha_logit", nn.initializers.zeros, ()))
        tokens = tokens * (1 + alpha * density[..., None]).astype(x.dtype)
        tokens = tokens + self._scale("temporal_attention_scale", x) * nn.Dense(size, name="temporal_dense")(attended)
        hidden = Perceptron(4 * size, name="temporal_ffn")(LayerNorm(name="temporal_ffn_norm")(tokens))
        tokens = tokens + self._scale("temporal_ffn_scale", x) * hidden
        x = tokens.reshape(b, h, w, t, size).transpose(0, 3, 1, 2, 4).reshape(b * t, h, w, size)
        mixed = nn.Conv(size, (1, 1), name="spatial_mixer_1")(DepthwiseConv2D(name="spatial_mixer_0")(x))
        return (x + nn.gelu(mixed, approximate=False)).reshape(b, t, h, w, size)

    def _time(self, frames: int, size: int) -> Float[Array, "t c"]:
        """Returns the embedding of each frame's time."""
        learned = self.param("time_embedding", nn.initializers.truncated_normal(0.02), (1, _EMBEDDED, size))
        return jax.image.resize(learned[0], (frames, size), "linear", antialias=False)

    def _scale(self, name: str, x: Float[Array, "..."]) -> Float[Array, " 1"]:
        return self.param(name, nn.initializers.constant(1e-3), (1,)).astype(x.dtype)

    def _density(
        self, tokens: Float[Array, "b n t c"], normed: Float[Array, "b n t c"], weights: Float[Array, "b n t t"]
    ) -> Float[Array, "b n t"]:
        """Returns the density of each frame over the places."""
        # 1x1 convolutions of one channel, whose kernels the checkpoints hold as those of convolutions.
        seen = nn.Conv(1, (1, 1), name="sal_obs_head")(tokens)[..., 0]
        seen = nn.softmax(seen.astype(jnp.float32), axis=1)
        # No gradient reaches the attention from here.
        u = jnp.einsum("bnqk,bnk->bnq", lax.stop_gradient(weights).astype(jnp.float32), seen)
        # With fewer than three frames there is no second difference, and its weight is not read.
        spread = nn.softplus(nn.Dense(1, name="nu_head")(normed)[..., 0].astype(jnp.float32))
        if tokens.shape[2] >= 3:
            bend = u[:, :, :-2] - 2 * u[:, :, 1:-1] + u[:, :, 2:]
            u = u.at[:, :, 1:-1].add(spread[:, :, 1:-1] * bend)
        pull = nn.sigmoid(nn.Dense(1, name="lam_head")(normed)[..., 0].astype(jnp.float32))
        u = u + pull * (seen - u)
        for _ in range(2):  # the second time because the first one adds epsilon
            u = jnp.maximum(u, 0)
            u = u / (jnp.sum(u, axis=1, keepdims=True) + _EPSILON)
        return u
