"""UNISAL with sound: every frame is gated by itself, and the state is that of the picture alone."""

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avsd_jax import models
from avsd_jax.errors import InputError

SPECTROGRAM = {"sample_rate": 8000, "audio_seconds": 0.25, "nperseg": 80, "noverlap": 40, "nfft": 80}
TINY = {
    "clip_size": 3,
    "width": 0.02,
    "domains": ("DHF1K",),
    "classifier_options": {"width": 0.1, "frame_size": 32, **SPECTROGRAM},
}
BATCH = {
    "video": drawn.normal(0, 2, 3, 32, 64, 3),
    "audio": drawn.normal(1, 2, 16000),
    "avc_frames": drawn.normal(2, 2, 1, 32, 32, 3),
    "avc_audio": 0.1 * drawn.normal(3, 2, 2000),
    "avc_label": np.array([1, 0], np.int32),
}
LABELS = np.array([[1, 0, -1], [0, 1, 1]], np.int32)


def tiny(**options):
    return models.create("unisal_av", **(TINY | options))


@pytest.fixture(scope="module")
def outputs() -> dict:
    """What models that differ in their gate give, in one program; UNISAL alone, too."""
    settings = {
        "clips": (BATCH, {"gate": "labels"}),
        "frames": (BATCH | {"frame_labels": LABELS}, {"gate": "labels", "gate_at": "output"}),
        "logits": (BATCH | {"avc_logits": np.eye(2, dtype=np.float32)[np.maximum(LABELS, 0)]}, {"gate": "classifier"}),
    }
    plain = models.create("unisal", clip_size=3, width=0.02, domains=("DHF1K",))
    variables = drawn.variables(drawn.shapes(tiny(gate="classifier"), BATCH))
    visual = {name: tree["visual_model"] for name, tree in variables.items()}

    def run(variables: dict, visual: dict) -> dict:
        made = {name: tiny(**options).apply(variables, batch) for name, (batch, options) in settings.items()}
        return made | {"alone": plain.apply(visual, {"video": BATCH["video"]})}

    return drawn.forward_jit(run)(variables, visual)


def test_each_frame_gets_the_stream_that_its_gate_selects(outputs):
    v, av = outputs["frames"]["saliency_v"], outputs["frames"]["saliency_av"]
    assert np.abs(v - av).max((-2, -1)).min() > 1e-4, "the streams do not differ"
    by_clip = np.array([[True] * 3, [False] * 3])
    for name, gate in {"clips": by_clip, "frames": LABELS == 1, "logits": LABELS == 1}.items():
        np.testing.assert_array_equal(outputs[name]["gate"], gate)
        chosen = np.where(gate[..., None, None], av, v)
        np.testing.assert_allclose(outputs[name]["saliency"], chosen, atol=1e-5)
        np.testing.assert_allclose(np.exp(outputs[name]["log_density"]).sum((-2, -1)), 1, rtol=1e-4)
    assert outputs["logits"]["avc_logits"].shape == (2, 3, 2)


def test_vision_and_its_state_are_those_of_unisal(outputs):
    alone = outputs["alone"]
    for name in ("frames", "logits"):
        np.testing.assert_allclose(outputs[name]["carry"], alone["carry"], atol=1e-6)
    np.testing.assert_allclose(outputs["frames"]["saliency_v"], alone["saliency"], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "audio"),
    [
        ({"fuse_at": "skip_4x", "fusion": "concat"}, 16000),
        ({"fuse_at": "skip_2x", "fusion": "transformer", "fusion_options": {"num_layers": 1, "num_heads": 2}}, 16000),
        ({"fusion": "localisation", "fusion_options": {"features": 0}, "num_tags": 3}, 16000),
        ({"audio_flow": "avid"}, 48000),
    ],
)
def test_any_fusion_at_any_place_with_either_encoder(options, audio):
    batch = {"video": jnp.zeros((2, 3, 32, 64, 3)), "audio": jnp.zeros((2, audio))}
    out = jax.eval_shape(lambda: tiny(**options).init_with_output(jax.random.key(0), batch)[0])
    assert out["saliency"].shape == (2, 3, 32, 64)
    assert out["gate"].shape == (2, 3)
    assert ("tag_logits" in out) == ("num_tags" in options)


def test_unknown_places_and_encoders_and_audio_of_other_clips_are_named():
    for name in ("fuse_at", "audio_flow"):
        with pytest.raises(InputError, match=f"unknown {name} 'ear': choose one of "):
            drawn.shapes(tiny(**{name: "ear"}), BATCH)
    for shape in ((1, 16000), (2, 2, 16000), (6, 16000), (16000,)):
        with pytest.raises(InputError, match=r"for 2 clips of 3 frames: give \[2, S\] or \[2, 3, S\]"):
            drawn.shapes(tiny(), BATCH | {"audio": np.zeros(shape, np.float32)})
