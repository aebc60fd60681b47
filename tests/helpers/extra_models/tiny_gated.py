"""A gated model that compiles in a second and reads every key that AViNet with a classifier reads."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict
from jaxtyping import Array

from avsd_jax.batch import ClassifierInputs
from avsd_jax.models import classifiers
from avsd_jax.models.common.network import Network
from avsd_jax.nn.gate import AVCGate, select


class Model(Network):
    """One convolution on the clip's frames, one dense layer on the audio, gated by a linear classifier."""

    clip_size: int = 8
    gate: str = "classifier"
    classifier: str = "l3net"
    classifier_options: Mapping[str, Any] = FrozenDict()
    axis_name: str | None = None
    uses_audio = True

    @property
    def classifier_inputs(self) -> ClassifierInputs | None:
        """What the classifier reads, if there is one."""
        return classifiers.inputs(self.classifier, self.classifier_options) if self.gate == "classifier" else None

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        video = batch["video"]
        y0 = nn.Conv(4, (3, 3))(jnp.moveaxis(video, 1, -2).reshape(*video.shape[:1], *video.shape[2:4], -1))
        out = {}
        if self.gate == "classifier":
            loudness = jnp.log1p(100 * jnp.abs(batch["avc_audio"]).mean(-1, keepdims=True))
            colour = batch["avc_frames"].mean((1, 2, 3))
            out["avc_logits"] = nn.Dense(2, name="judge")(jnp.concatenate([colour, loudness], -1))
        gate = AVCGate(self.gate)(len(y0), out.get("avc_logits"), batch.get("avc_label"), train)
        if self.gate != "never":
            sound = nn.Dense(4, name="hear")(jnp.log1p(jnp.abs(batch["audio"]).mean(-1, keepdims=True)))
            y0 = select(gate, y0 * nn.sigmoid(sound)[:, None, None], y0)
        logits = nn.Conv(1, (3, 3), name="draw")(nn.relu(y0))[..., 0]
        return out | {"logits": logits, "saliency": nn.sigmoid(logits), "gate": gate}
