"""A bi-stream model with every option of the gate, which compiles in a second."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.models.common.bistream import BiStream, Features


class Model(BiStream):
    """V is one convolution on the clip's mean frame, AV the same times the loudness."""

    clip_size: int = 8

    def encode_visual(self, batch: Mapping[str, Array], train: bool) -> tuple[Features, Float[Array, "b h w c"]]:
        return {}, nn.Conv(4, (3, 3), name="look")(read(batch, "video").mean(1))

    def fuse(self, v: Float[Array, "b h w c"], features: Features, batch: Mapping[str, Array], train: bool) -> Features:
        loudness = jnp.log1p(jnp.abs(read(batch, "audio")).mean(-1, keepdims=True))
        return {"fused": v * (2 + nn.sigmoid(nn.Dense(4, name="hear")(loudness)))[:, None, None]}

    def decode(self, feature: Float[Array, "b h w c"], features: Features, train: bool) -> Features:
        logits = nn.Conv(1, (3, 3), name="draw")(nn.relu(feature))[..., 0]
        return {"logits": logits, "saliency": nn.sigmoid(logits)}
