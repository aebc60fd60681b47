"""What all classifiers have in common: each can be the gate of every model, and is trained alone or within it."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from drawn import flat_shapes, shapes
from slow import slow_except

from avsd_jax import models
from avsd_jax.batch import batch_shapes
from avsd_jax.common.by_name import available
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.models import classifiers

SMALL = {
    "avenet": {"width": 1 / 32, "frame_size": 32, "sample_rate": 8000},
    "avenet_hardway": {"width": 1 / 32, "frame_size": 32, "sample_rate": 8000, "audio_seconds": 1.0},
    "avid": {"width": 1 / 32, "num_frames": 4, "frame_size": 32, "sample_rate": 8000, "audio_seconds": 0.5},
    "correlation": {"num_frames": 16, "frame_size": 32, "sample_rate": 8000},
    "l3net": {"width": 1 / 32, "frame_size": 32, "sample_rate": 8000},
    "soundswitch_audio": {"width": 1 / 32},
    "soundswitch_av": {"width": 1 / 32, "depths": (1, 1, 1), "frame_size": 32},
}


@pytest.mark.parametrize(
    "name", slow_except(available("avsd_jax.models.classifiers"), ["avid", "l3net", "correlation"])
)
def test_every_classifier_gates_a_model_that_holds_its_variables(name):
    chosen = {"classifier": name, "classifier_options": SMALL[name]}
    model = models.create("avinet", clip_size=8, width=1 / 32, gate="classifier", **chosen)
    spec = ClipSpec(clip_size=8, frame_size=(64, 64), avc=model.classifier_inputs)
    batch = batch_shapes(spec, 2)
    variables = shapes(model, batch)

    def run(variables, batch):
        return model.apply(variables, batch, True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)})

    out, updated = jax.eval_shape(run, variables, batch)
    assert (out["avc_logits"].shape, out["gate"].shape, out["saliency"].shape) == ((2, 2), (2,), (2, 64, 64))
    assert jax.tree.map(jnp.shape, updated["batch_stats"]) == jax.tree.map(jnp.shape, variables["batch_stats"])
    alone = shapes(models.create("avc", **chosen), batch)
    inside = {kind: tree["classifier"] for kind, tree in variables.items() if "classifier" in tree}
    assert flat_shapes(inside) == flat_shapes(alone)


def test_the_published_clocks():
    """Frames, frames per second, size of a frame, Hz, seconds."""
    clocks = {
        name: dataclasses.astuple(classifiers.create(name).inputs) for name in ("avid", "avenet", "avenet_hardway")
    }
    assert clocks == {
        "avid": (8, 16.0, 224, 24000, 2.0),
        "avenet": (1, None, 224, 48000, 1.0),
        "avenet_hardway": (1, None, 224, 16000, 10.0),
    }
