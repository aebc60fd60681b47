"""AViNet against the official network, and the switch that the survey adds to it."""

import functools
import importlib
import sys

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import fast_jit, flat_shapes, forward_jit, normal, shapes, variables
from ml_collections import ConfigDict

from avsd_jax import models
from avsd_jax.errors import InputError
from avsd_jax.models import fusions
from avsd_jax.nn.transformer import Transformer
from avsd_jax.torch_import import to_variables

# ---------------------------------------------------------------- parity


@functools.cache
def _official(fusion: str):
    """The model, and its output with what its transformer returns."""
    model = models.create("avinet", fusion=fusion)

    def run(variables, batch):
        out, kept = model.apply(
            variables,
            batch,
            capture_intermediates=lambda module, _: isinstance(module, Transformer),
            mutable=["intermediates"],
        )
        return out | {f"transformer{i}": x for i, x in enumerate(jax.tree.leaves(kept))}

    return model, forward_jit(run)


def _check(shared, case: str, fusion: str = "bilinear") -> None:
    recorded = golden.load(shared, f"vinet/{case}")
    drawn = to_variables("avinet", golden.state_dict(shared, f"vinet/{case}"))
    video = golden.drawn_input(shared, "video", recorded["video_shape"]) * recorded["video_scale"]
    audio = golden.drawn_input(shared, "audio", recorded["audio_shape"]) * recorded["audio_scale"]
    batch = {"video": video.transpose(0, 2, 3, 4, 1), "audio": audio[:, 0, :, 0]}
    model, run = _official(fusion)
    assert flat_shapes(shapes(model, batch)) == flat_shapes(drawn)

    out = {k: np.asarray(v) for k, v in run(drawn, batch).items()}
    np.testing.assert_allclose(out["saliency"], recorded["output"], rtol=0, atol=1e-5)
    full = recorded["logits"].shape == out["logits"].shape
    logits = out["logits"] if full else out["logits"][:, ::8, ::8]
    np.testing.assert_allclose(logits, recorded["logits"], rtol=0, atol=2e-5)
    # Attention over all positions is nearly one-hot on drawn weights, which magnifies rounding.
    decoder = 1e-4 if fusion == "transformer" else 1e-5
    for name in ("y3", "y2", "y1", "y0"):
        golden.assert_tap(recorded, name, out[name])
    for name in ("dec_in", "dec1", "dec2", "dec3"):
        golden.assert_tap(recorded, name, out[name], decoder)
    golden.assert_tap(recorded, "logits", out["logits"][:, None, :, :, None], tolerance=1e-5)
    features = recorded["audio_features"][..., 0].transpose(0, 2, 1)
    np.testing.assert_allclose(out["audio_features"][:1], features, rtol=0, atol=2e-6 * features.max())
    if "tap:fused:shape" in recorded and fusion == "bilinear":
        golden.assert_tap(recorded, "fused", out["fused"].reshape(*recorded["tap:fused:shape"][[0, 2, 1]]))
    if "tap:transformer:shape" in recorded:
        golden.assert_tap(recorded, "transformer", golden.channels_first(out["transformer0"]), decoder)


def test_equals_the_official_graph_on_a_small_frame(shared):
    _check(shared, "avinet_small")


@pytest.mark.slow
def test_equals_the_official_network(shared):
    _check(shared, "avinet")


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["transformer", "bilinear_transformer"])
def test_equals_the_official_variants(shared, fusion):
    _check(shared, f"avinet_{fusion}", fusion)


# ---------------------------------------------------------------- the gate

TINY = {
    "clip_size": 8,
    "width": 0.06,
    "lowering": "direct",  # the fewest operations to trace and compile
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
LABELS = np.array([1, 0, -1], np.int32)
BATCH = {
    "video": normal(0, 3, 8, 32, 32, 3),
    "audio": normal(1, 3, 4608),
    "avc_frames": normal(2, 3, 1, 32, 32, 3),
    "avc_audio": 0.1 * normal(3, 3, 2000),
    "avc_label": LABELS,
}
FLOWS = {
    "v": {"gate": "never"},
    "v_out": {"gate": "never", "gate_at": "output"},
    "av": {"gate": "always"},
    "label": {"gate": "labels"},
    "label_out": {"gate": "labels", "gate_at": "output"},
    "predicted": {"gate": "classifier"},
    "predicted_out": {"gate": "classifier", "gate_at": "output"},
}


def _tiny(**options):
    return models.create("avinet", **TINY, **options)


@functools.cache
def _drawn():
    return variables(shapes(_tiny(gate="classifier"), BATCH))


@functools.cache
def _flows(consistent: bool):
    """Outputs of all gates, with a classifier biased to one answer for every clip."""
    return _run_flows()(_biased(1e6 if consistent else -1e6), BATCH)


@functools.cache
def _run_flows():
    """One compilation of all gates, which share most of their work."""

    def run(drawn, batch):
        outs = {name: _tiny(**options).apply(drawn, batch) for name, options in FLOWS.items()}
        visual = models.create("vinet", clip_size=8, width=0.06, lowering="direct")
        part = {collection: tree["visual_model"] for collection, tree in drawn.items()}
        return outs | {"vinet": visual.apply(part, batch)}

    return forward_jit(run)


def _biased(bias: float):
    """The drawn variables with a constant added to the classifier's logit of class 1."""
    classifier = _drawn()["params"]["classifier"]
    fc2 = {**classifier["fc2"], "bias": classifier["fc2"]["bias"] + jnp.array([0.0, bias])}
    return {**_drawn(), "params": {**_drawn()["params"], "classifier": {**classifier, "fc2": fc2}}}


def _same(x, y, rows=slice(None)) -> None:
    for name in ("saliency", "logits", "dec_in", "dec1"):
        np.testing.assert_allclose(x[name][rows], y[name][rows], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_flows_differ():
    flows = _flows(True)
    assert np.abs(flows["av"]["saliency"] - flows["v"]["saliency"]).max() > 1e-2


def test_never_is_vinet():
    _same(_flows(True)["v"], _flows(True)["vinet"])
    _same(_flows(True)["v_out"], _flows(True)["vinet"])
    assert not _flows(True)["v"]["gate"].any()


@pytest.mark.parametrize("suffix", ["", "_out"])
def test_labels_choose_per_clip(suffix):
    flows = _flows(True)
    gated = flows["label" + suffix]
    assert gated["gate"].tolist() == [True, False, False]
    _same(gated, flows["av"], slice(0, 1))
    _same(gated, flows["v"], slice(1, 3))


@pytest.mark.parametrize("suffix", ["", "_out"])
@pytest.mark.parametrize("consistent", [True, False])
def test_classifier_forced_to_one_answer_gives_the_pure_flow(consistent, suffix):
    flows = _flows(consistent)
    gated = flows["predicted" + suffix]
    assert gated["gate"].tolist() == [consistent] * 3
    assert (gated["avc_logits"].argmax(-1) == consistent).all()
    _same(gated, flows["av" if consistent else "v"])


def test_gate_at_output_gives_both_maps():
    flows = _flows(True)
    for name in ("label_out", "predicted_out"):
        np.testing.assert_allclose(flows[name]["saliency_v"], flows["v"]["saliency"], atol=1e-5)
        np.testing.assert_allclose(flows[name]["saliency_av"], flows["av"]["saliency"], atol=1e-5)
    assert "saliency_v" not in flows["label"]


def test_default_has_no_classifier_and_all_gates_share_the_rest():
    default = flat_shapes(shapes(_tiny(), {k: BATCH[k] for k in ("video", "audio")}))
    assert not any("classifier" in path for path in default)
    for options in ({"gate": "never"}, {"gate": "labels"}, {"gate": "labels", "gate_at": "output"}):
        assert flat_shapes(shapes(_tiny(**options), BATCH)) == default
    gated = flat_shapes(shapes(_tiny(gate="classifier"), BATCH))
    assert {k: v for k, v in gated.items() if "classifier" not in k} == default
    as_config = ConfigDict(TINY).classifier_options
    options = TINY | {"classifier_options": as_config, "gate": "classifier"}
    assert flat_shapes(shapes(models.create("avinet", **options), BATCH)) == gated


def test_a_shallower_tap_is_fused_in_its_place():
    options = {"fuse_at": "y2", "fusion": "spatial_alignment"}
    drawn = variables(shapes(_tiny(**options), BATCH))
    fused, plain = forward_jit(
        lambda drawn: [_tiny(**options, gate=gate).apply(drawn, BATCH) for gate in ("labels", "never")]
    )(drawn)
    assert fused["fused"].shape == fused["y2"].shape == (3, 4, 4, 4, fused["y2"].shape[-1])
    _same(fused, plain, slice(1, 3))
    for name in ("dec_in", "dec1"):  # y2 enters the decoder later
        np.testing.assert_allclose(fused[name], plain[name], rtol=1e-5, atol=1e-5)
    assert np.abs(fused["saliency"] - plain["saliency"])[0].max() > 1e-3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fuse_at": "y4"}, "unknown fuse_at 'y4': choose one of y0, y1, y2"),
        ({"fuse_at": "y2", "num_skips": 1}, "the decoder with num_skips=1 does not read"),
        ({"fuse_at": "y1"}, "bilinear fusion pairs channels"),
    ],
)
def test_a_tap_that_cannot_be_fused_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        shapes(_tiny(**options), BATCH)


def test_vision_alone_needs_no_audio():
    out = jax.eval_shape(_tiny(gate="never").apply, _drawn(), {"video": BATCH["video"]})
    assert out["saliency"].shape == (3, 32, 32)
    assert "fused" not in out


@pytest.mark.slow
def test_nothing_is_learned_through_the_gate():
    drawn = _drawn()

    @fast_jit
    def gradients(classifier):
        def run(classifier):
            params = {"params": {**drawn["params"], "classifier": classifier}}
            out = _tiny(gate="classifier").apply({**drawn, **params}, BATCH)
            return out["saliency"].mean(), out["avc_logits"].mean()

        _, backwards = jax.vjp(run, classifier)
        return [backwards((jnp.asarray(1.0 - i), jnp.asarray(1.0 * i)))[0] for i in (0, 1)]

    through_gate, direct = gradients(drawn["params"]["classifier"])
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(through_gate))
    assert all(np.any(direct["fc2"][name]) for name in ("kernel", "bias"))


@functools.cache
def _trained():
    """Outputs and new statistics of a training step; the classifier finds every clip consistent."""
    models_by_name = {
        "predicted": _tiny(gate="classifier"),
        "labels": _tiny(gate="classifier", train_gate="labels"),
        "never": _tiny(gate="never"),
    }

    @forward_jit
    def run(drawn, batch):
        return {
            name: model.apply(drawn, batch, train=True, mutable=["batch_stats"])
            for name, model in models_by_name.items()
        }

    return run(_biased(1e6), BATCH)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "expected"), [("predicted", [True] * 3), ("labels", [True, False, False])])
def test_training_step(name, expected):
    out, updates = _trained()[name]
    assert out["gate"].tolist() == expected
    old, new = _drawn()["batch_stats"], updates["batch_stats"]
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(np.any(a != b)), old, new))


def test_training_without_audio_keeps_the_audio_statistics():
    old, new = _drawn()["batch_stats"], _trained()["never"][1]["batch_stats"]
    assert set(old) == set(new) == {"visual_model", "audionet", "classifier"}
    for name in ("audionet", "classifier"):
        assert jax.tree.all(jax.tree.map(np.array_equal, old[name], new[name]))


def test_half_precision():
    def cast(tree):
        return jax.tree.map(lambda x: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x, tree)

    def run(drawn, batch):
        return _tiny(gate="classifier").apply({**drawn, "params": cast(drawn["params"])}, cast(batch))

    out = jax.eval_shape(run, _drawn(), BATCH)
    halves = ("y0", "fused", "audio_features", "avc_logits")
    assert {out[name].dtype for name in halves} == {jnp.dtype(jnp.bfloat16)}
    assert out["saliency"].dtype == jnp.float32


# ---------------------------------------------------------------- choice by name, mistakes

_NEW_FUSION = """
from flax import linen as nn

class Fusion(nn.Module):
    gain: float = 1.0

    @nn.compact
    def __call__(self, visual, audio, train=False):
        return visual * self.param("own", nn.initializers.constant(self.gain), ())
"""


def test_a_new_module_is_found_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "own_idea.py").write_text(_NEW_FUSION)
    monkeypatch.setattr(fusions, "__path__", [*fusions.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "avsd_jax.models.fusions.own_idea", raising=False)
    importlib.invalidate_caches()
    model = _tiny(fusion="own_idea", fusion_options={"gain": 3.0})
    assert flat_shapes(shapes(model, BATCH)["params"]["fusion"]) == {"own": ()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": "sum"}, "unknown fusion 'sum': choose one of bilinear, bilinear_transformer, concat"),
        ({"gate": "classifier", "classifier": "ear"}, "unknown classifier 'ear': choose one of .*l3net"),
        ({"gate": "soft"}, "unknown gate 'soft'"),
        ({"gate_at": "middle"}, "unknown gate_at 'middle': choose one of input, output"),
        ({"train_gate": "always"}, "unknown train_gate 'always'"),
    ],
)
def test_unknown_names(options, message):
    with pytest.raises(InputError, match=message):
        shapes(_tiny(**options), BATCH)


@pytest.mark.parametrize(
    ("gate", "missing"),
    [
        ("always", "video"),
        ("always", "audio"),
        ("labels", "avc_label"),
        ("classifier", "avc_frames"),
        ("classifier", "avc_audio"),
    ],
)
def test_missing_input_is_named(gate, missing):
    batch = {k: v for k, v in BATCH.items() if k != missing}
    with pytest.raises(InputError, match=f"no '{missing}'"):
        jax.eval_shape(_tiny(gate=gate).apply, _drawn(), batch)
