"""A model that states two streams and nothing else is gated, with every option, as all bi-stream models are."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import fast_jit, flat_shapes, normal, shapes, variables
from extra_models.two_flows import Model as TwoFlows
from flax import linen as nn

from avsd_jax import models
from avsd_jax.batch import ENTRIES
from avsd_jax.common.by_name import available
from avsd_jax.errors import InputError

OPTIONS = {
    "classifier_options": {
        "width": 0.1,
        "frame_size": 32,
        "sample_rate": 8000,
        "audio_seconds": 0.25,
        "nperseg": 80,
        "noverlap": 40,
        "nfft": 80,
    },
}
BATCH = {
    "video": normal(0, 3, 2, 4, 4, 3),
    "audio": normal(1, 3, 5),
    "avc_frames": normal(2, 3, 1, 32, 32, 3),
    "avc_audio": 0.1 * normal(3, 3, 2000),
    "avc_label": np.array([1, 0, -1], np.int32),
}


def tiny(**options):
    return TwoFlows(**OPTIONS, **options)


DRAWN = variables(shapes(tiny(gate="classifier"), BATCH))


def run(batch=BATCH, train=False, **options):
    return fast_jit(lambda drawn: tiny(**options).apply(drawn, batch, train, mutable=["batch_stats"])[0])(DRAWN)


@pytest.mark.parametrize("gate_at", ["input", "output"])
def test_each_clip_gets_the_flow_that_the_gate_says(gate_at):
    v, av = run(gate="never"), run(gate="always")
    assert np.abs(v["saliency"] - av["saliency"]).min(axis=(1, 2)).max() > 1e-4, "the streams do not differ"
    out = run(gate="labels", gate_at=gate_at)
    assert out["gate"].tolist() == [True, False, False]
    for name in ("saliency", "logits", "dec_in"):
        expected = np.where(np.array([1, 0, 0], bool).reshape(3, *[1] * (out[name].ndim - 1)), av[name], v[name])
        np.testing.assert_allclose(out[name], expected, rtol=1e-6, atol=1e-6)


def test_both_maps_are_told_where_both_are_made():
    out, v, av = run(gate="labels", gate_at="output"), run(gate="never", gate_at="output"), run(gate="always")
    np.testing.assert_allclose(out["saliency_v"], v["saliency"], atol=1e-6)
    np.testing.assert_allclose(out["saliency_av"], av["saliency"], atol=1e-6)
    np.testing.assert_array_equal(v["saliency_v"], v["saliency"])
    assert {"saliency_v", "saliency_av"}.isdisjoint(run(gate="labels"))


def test_the_classifier_opens_its_gate_and_labels_may_in_training():
    predicted = run(gate="classifier")
    assert predicted["gate"].tolist() == (predicted["avc_logits"].argmax(-1) == 1).tolist()
    forced = run(gate="classifier", train_gate="labels", train=True)
    assert forced["gate"].tolist() == [True, False, False]


def test_logits_of_the_batch_replace_the_classifier():
    whole = run(gate="classifier")
    seen = {key: value for key, value in BATCH.items() if not key.startswith("avc_")}
    given = run(seen | {"avc_logits": whole["avc_logits"]}, gate="classifier")
    for name in ("avc_logits", "gate", "saliency"):
        np.testing.assert_allclose(given[name], whole[name], atol=1e-6)
    turned = run(seen | {"avc_logits": -whole["avc_logits"]}, gate="classifier")
    assert (turned["gate"] != whole["gate"]).all()


@pytest.mark.parametrize("gate_at", ["input", "output"])
def test_the_mix_reaches_both_positions_of_the_gate(gate_at):
    def map_of(logits, **options):
        batch = {"video": BATCH["video"], "audio": BATCH["audio"], "avc_logits": logits}
        return tiny(gate="classifier", gate_at=gate_at, **options).apply(DRAWN, batch)["saliency"]

    logits = normal(4, 3, 2)

    def both(mix):
        return fast_jit(jax.value_and_grad(lambda x: map_of(x, gate_mix=mix).sum()))(logits)

    (hard, nothing), (straight, learned), (soft, _) = (both(mix) for mix in ("hard", "straight_through", "soft"))
    np.testing.assert_allclose(straight, hard, rtol=1e-6)
    assert abs(soft - hard) > 1e-3
    assert not nothing.any()
    assert learned.any(axis=-1).all()


def test_all_gates_share_one_set_of_variables():
    plain = flat_shapes(shapes(tiny(gate="never"), BATCH))
    assert any(path.startswith("params/fusion/") for path in plain)
    for gate in ("always", "labels"):
        assert flat_shapes(shapes(tiny(gate=gate), BATCH)) == plain
    gated = flat_shapes(shapes(tiny(gate="classifier"), BATCH))
    assert {k: v for k, v in gated.items() if "/classifier/" not in k} == plain != gated


def test_vision_alone_reads_neither_sound_nor_labels():
    out = run({"video": BATCH["video"]}, gate="never")
    assert "fused" not in out
    assert not out["gate"].any()


def test_a_fusion_that_changes_the_shape_is_refused_with_the_mend(monkeypatch):
    class Wider(nn.Module):
        def __call__(self, visual, audio, train=False):
            return jnp.concatenate([visual, visual], -1)

    monkeypatch.setattr(TwoFlows, "make_fusion", lambda self: Wider(name="fusion"))
    with pytest.raises(InputError, match=r"'concat' gives .* \(2, 4, 4, 8\) where .* \(2, 4, 4, 4\): choose another"):
        shapes(tiny(), BATCH)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"gate": "never"}, "video"),
        ({"gate": "always"}, "audio"),
        ({"gate": "labels"}, "avc_label"),
        ({"gate": "classifier"}, "avc_audio"),
        ({"gate": "classifier"}, "avc_frames"),
    ],
)
def test_a_missing_entry_is_named(options, missing):
    batch = {key: value for key, value in BATCH.items() if key != missing}
    with pytest.raises(InputError, match=f"no '{missing}', .*: add it, of shape {re.escape(ENTRIES[missing].shape)}"):
        jax.eval_shape(tiny(**options).apply, DRAWN, batch)


@pytest.mark.parametrize("name", available("avsd_jax.models"))
def test_every_model_says_alike_what_is_missing(name):
    with pytest.raises(InputError, match=r"^the batch has no '(\w+)', which this model reads: add it, of shape \[b"):
        shapes(models.create(name, **({"instances": 2} if name == "avid_instance" else {})), {})


@pytest.mark.parametrize(
    "options", [{"gate": "soft"}, {"gate_mix": "half"}, {"gate_at": "middle"}, {"train_gate": "always"}]
)
def test_an_unknown_option_is_named(options):
    with pytest.raises(InputError, match=f"unknown {next(iter(options))} '{next(iter(options.values()))}': choose"):
        shapes(tiny(**options), BATCH)
