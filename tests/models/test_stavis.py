"""STAViS against the official network, and the survey's gate between its two streams."""

import functools

import golden
import jax
import numpy as np
import pytest
from drawn import fast_jit, forward_jit, normal, shapes, variables

from avsd_jax import models
from avsd_jax.errors import InputError
from avsd_jax.torch_import import to_variables

# ---------------------------------------------------------------- parity

# Official module -> what of our output it is, [B, ..., C].
TAPS = {
    "relu": lambda out: out["stem"],
    "layer1": lambda out: out["layer1"],
    "layer2": lambda out: out["layer2"],
    "layer3": lambda out: out["layer3"],
    **{f"score_dsn.{i}.score_dsn": lambda out, i=i: out[f"scores_{i}"][..., None] for i in range(4)},
    **{
        f"score_dsn.{i}.avgpool": lambda out, i=i: out[f"layer{i}" if i else "stem"].mean(1, keepdims=True)
        for i in range(4)
    },
    **{f"score_dsn.{i}#side": lambda out, i=i: out["sides"][..., 16 * i : 16 * i + 16] for i in range(4)},
    **{f"score_dsn.{i}#side_out": lambda out, i=i: out["side_logits"][:, i, ..., None] for i in range(4)},
    **{f"soundnet8.{index}": lambda out, n=n: out[f"conv{n}"] for n, index in enumerate((3, 7, 10, 13, 17, 20), 1)},
    "soundnet8": lambda out: out["conv7"],
    "fusion3": lambda out: out["sound_map"],
    "fusion3.avgpool_rgb": lambda out: out["layer2"][:, 1:3].mean(1, keepdims=True),
}


@functools.cache
def _run(name: str, **options):
    return jax.jit(models.create(name, **options).apply)


def _position(text: str) -> int | slice:
    """What one axis of an index says: "3", ":" or "::4"."""
    return slice(None, None, int(text.strip(":") or 1)) if ":" in text else int(text)


def _check_taps(recorded, out) -> int:
    """Compares every recorded tap that our output holds; returns how many there were."""
    found = 0
    for key, expected in recorded.items():
        kind, _, rest = key.partition(":")
        name, _, index = rest.partition("@")
        deaf = "conv1" not in out and name.startswith(("soundnet8", "fusion3"))
        if name not in TAPS or deaf:
            continue
        tap = golden.channels_first(TAPS[name](out))
        if name.startswith("soundnet8"):
            tap = tap[:, :, None]  # an image of one row
        if kind == "chmean":
            got = tap.mean(tuple(range(2, tap.ndim)))
        else:
            got = tap[tuple(_position(axis) for axis in index.strip("[]").split(","))]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()), err_msg=key)
        found += 1
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_official_audiovisual_network(shared, seed):
    recorded = golden.load(shared, "stavis/audiovisual", seed)
    out = _run("stavis")(
        to_variables("stavis", golden.stavis_state_dict(shared, seed)), golden.stavis_inputs(shared, seed)
    )
    np.testing.assert_allclose(out["logits"], recorded["logits"][:, 0], rtol=0, atol=2e-5)
    np.testing.assert_allclose(out["saliency"], recorded["saliency"][:, 0], rtol=0, atol=1e-5)
    assert _check_taps(recorded, out) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_official_visual_network(shared, seed):
    recorded = golden.load(shared, "stavis/visual", seed)
    out = _run("stavis_visual")(
        to_variables("stavis_visual", golden.stavis_state_dict(shared, seed)), golden.stavis_inputs(shared, seed)
    )
    _check_visual(recorded, out)
    assert _check_taps(recorded, out) >= 30


@pytest.mark.slow
def test_equals_the_official_visual_network_at_another_size_and_without_its_sound(shared):
    recorded = golden.load(shared, "stavis/visual_90x122", 0)
    drawn = to_variables("stavis", golden.stavis_state_dict(shared, 0))
    batch = golden.stavis_inputs(shared, 0, 1, (90, 122))
    del batch["audio"]
    _check_visual(recorded, _run("stavis", gate="never")(drawn, batch))


def _check_visual(recorded, out) -> None:
    np.testing.assert_allclose(out["logits"], recorded["logits"][:, 0], rtol=0, atol=2e-5)
    np.testing.assert_allclose(out["saliency"], recorded["saliency"][:, 0], rtol=0, atol=1e-5)
    for i in range(4):
        side = recorded[f"side_out_{i}"][:, 0]
        np.testing.assert_allclose(out["side_logits"][:, i], side, rtol=0, atol=2e-5 * max(1, np.abs(side).max()))


# ---------------------------------------------------------------- the two streams

TINY = {"clip_size": 8, "width": 0.1, "lowering": "direct", "fusion_options": {"hidden": 4, "features": 4}}
CLASSIFIER = {
    "width": 0.1,
    "frame_size": 32,
    "sample_rate": 8000,
    "audio_seconds": 0.25,
    "nperseg": 80,
    "noverlap": 40,
    "nfft": 80,
}
BATCH = {
    "video": normal(0, 3, 8, 32, 40, 3),
    "audio": normal(1, 3, 12766),
    "avc_frames": normal(2, 3, 1, 32, 32, 3),
    "avc_audio": 0.1 * normal(3, 3, 2000),
    "avc_label": np.array([1, 0, -1], np.int32),
}
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
FLOWS = {
    "v": {"gate": "never"},
    "av": {"gate": "always"},
    "oracle": {"gate": "labels"},
    "oracle_out": {"gate": "labels", "gate_at": "output"},
    "star": {"gate": "classifier", "classifier_options": CLASSIFIER},
}


def _tiny(**options):
    return models.create("stavis", **TINY | options)


@functools.cache
def _flows():
    """The variables of the gated model, and the outputs of every gate."""
    drawn = variables(shapes(_tiny(**FLOWS["star"]), BATCH))

    @forward_jit
    def run(drawn, batch):
        outs = {name: _tiny(**options).apply(drawn, batch) for name, options in FLOWS.items()}
        visual = models.create("stavis_visual", **{k: v for k, v in TINY.items() if k != "fusion_options"})
        part = {collection: tree["visual_model"] for collection, tree in drawn.items()}
        return outs | {"visual": visual.apply(part, batch)}

    return drawn, run(drawn, BATCH)


def test_vision_alone_is_the_visual_network():
    _, flows = _flows()
    for name in ("logits", "side_logits", "layer3"):
        np.testing.assert_allclose(flows["v"][name], flows["visual"][name], **CLOSE)
    assert "sound_map" not in flows["v"]


@pytest.mark.parametrize("name", ["oracle", "oracle_out", "star"])
def test_the_gate_chooses_the_head(name):
    _, flows = _flows()
    gated, v, av = flows[name], flows["v"], flows["av"]
    assert np.abs(av["saliency"] - v["saliency"]).max() > 1e-2, "the streams do not differ"
    expected = np.where(gated["gate"][:, None, None], av["logits"], v["logits"])
    np.testing.assert_allclose(gated["logits"], expected, **CLOSE)
    np.testing.assert_allclose(gated["fused"], av["logits"], **CLOSE)


def test_one_clip_alone_and_in_silence():
    """The official audio-visual network fails on a single clip. Only its map depends on the audio."""
    drawn, flows = _flows()
    one = {k: v[1:2] for k, v in BATCH.items()}
    quiet = one | {"audio": 0 * one["audio"]}

    @forward_jit
    def run(drawn, one, quiet):
        v, av = (_tiny(**FLOWS[name]) for name in ("v", "av"))
        return av.apply(drawn, one), v.apply(drawn, quiet), av.apply(drawn, quiet)

    av, quiet_v, quiet_av = (out["logits"] for out in run(drawn, one, quiet))
    np.testing.assert_allclose(av, flows["av"]["logits"][1:2], **CLOSE)
    np.testing.assert_allclose(quiet_v, flows["v"]["logits"][1:2], **CLOSE)
    assert np.abs(quiet_av - av).max() > 1e-2


def test_a_clip_trains_the_head_that_its_gate_chose():
    drawn, _ = _flows()

    @fast_jit
    def gradients(params, labels):
        def loss(params):
            return (
                _tiny(gate="labels").apply({**drawn, "params": params}, BATCH | {"avc_label": labels})["logits"].sum()
            )

        grads = jax.grad(loss)(params)
        return grads["head"], grads["visual_model"]["head"], grads["soundnet8"]["conv7"]

    for label in (0, 1):
        av, v, sound = gradients(drawn["params"], np.full(3, label, np.int32))
        assert np.any(jax.tree.leaves(av)[0]) == np.any(sound["kernel"]) == bool(label)
        assert np.any(jax.tree.leaves(v)[0]) == (not label)


def test_attention_does_not_overflow():
    drawn, _ = _flows()
    loud = jax.tree_util.tree_map_with_path(
        lambda path, x: 1e4 * x if "score_dsn" in path[-2].key and path[-1].key == "kernel" else x, drawn["params"]
    )
    out = forward_jit(_tiny(gate="never").apply)({**drawn, "params": loud}, BATCH)
    assert np.abs(out["scores_0"]).max() > 100
    assert np.isfinite(out["logits"]).all()


@pytest.mark.parametrize("fusion", ["concat", "spatial_alignment", "transformer"])
def test_fusions_swap(fusion):
    options = {"num_heads": 1} if fusion == "transformer" else {}
    out = jax.eval_shape(
        lambda batch: _tiny(fusion=fusion, fusion_options=options).init_with_output(jax.random.key(0), batch)[0], BATCH
    )
    assert out["logits"].shape == (3, 32, 40)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fusion": "bilinear", "fusion_options": {}}, "pairs channels one to one.*use another fusion"),
        ({"clip_size": 16}, "give clips of clip_size=16"),
        ({"clip_size": 12}, "give clips of clip_size=12"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        shapes(_tiny(**change), BATCH)


def test_short_sound_is_refused():
    with pytest.raises(InputError, match="at least 12766"):
        shapes(_tiny(), BATCH | {"audio": BATCH["audio"][:, 1:]})


def test_localisation_stands_in_for_avinets_fusion_where_it_keeps_the_channels():
    batch = {"video": BATCH["video"][..., :32, :], "audio": BATCH["audio"]}
    options = {"clip_size": 8, "width": 0.06, "fusion": "localisation"}
    shapes(models.create("avinet", **options, fusion_options={"features": 0}), batch)
    with pytest.raises(InputError, match="'localisation' gives .* choose another fusion, or fusion_options"):
        shapes(models.create("avinet", **options, fusion_options={"features": 8}), batch)
