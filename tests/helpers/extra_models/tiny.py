"""A model that compiles in seconds, with what the training loop relies on: BatchNorm, a gate, a classifier."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from avsd_jax.models.common.network import Network
from avsd_jax.nn.gate import AVCGate, select


class Model(Network):
    """One convolution on the clip's mean frame, one dense layer on the audio, gated by a linear classifier."""

    clip_size: int = 8
    gate: str = "always"
    axis_name: str | None = None
    uses_audio = True

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        visual = nn.Conv(8, (3, 3))(batch["video"].mean(1))
        visual = nn.relu(nn.BatchNorm(not train, axis_name=self.axis_name)(visual))
        loudness = jnp.log1p(jnp.abs(batch["audio"]).mean(-1, keepdims=True))
        fused = visual * nn.sigmoid(nn.Dense(8)(loudness))[:, None, None]
        avc_logits = nn.Dense(2)(jnp.concatenate([visual.mean((1, 2)), loudness], -1))
        source = AVCGate("labels" if self.gate == "labels" else "classifier")
        gate = source(len(visual), avc_logits, jnp.asarray(batch["avc_label"]), train)
        logits = nn.Conv(1, (3, 3))(select(gate, fused, visual))[..., 0]
        return {"logits": logits, "saliency": nn.sigmoid(logits), "gate": gate, "avc_logits": avc_logits}
