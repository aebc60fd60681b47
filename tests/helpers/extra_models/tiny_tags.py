"""A classifier of tags that compiles at once: a convolution, a mean over locations and a linear layer."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from avsd_jax.batch import read
from avsd_jax.models.common.network import Network


class Model(Network):
    clip_size: int = 1
    num_tags: int = 6
    axis_name: str | None = None

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        del train
        feature = self.deepest(nn.relu(nn.Conv(8, (5, 5), 4, name="conv")(read(batch, "video")[:, -1])))
        return {"features": feature, "tag_logits": nn.Dense(self.num_tags, name="fc")(jnp.mean(feature, (1, 2)))}
