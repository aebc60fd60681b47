"""DAVE against the official network and training step, its front end, and the gate on its audio vector."""

import functools
import re
from types import SimpleNamespace

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import fast_jit, forward_jit, normal, shapes, step_jit, variables
from flax import traverse_util

from avsd_jax import models
from avsd_jax.errors import InputError
from avsd_jax.losses.map_losses import kl
from avsd_jax.nn import resnet, vggish
from avsd_jax.torch_import import to_variables
from avsd_jax.torch_weights.layouts import checkpoint_key, find

# ---------------------------------------------------------------- parity

RUN = forward_jit(models.create("dave").apply)


@functools.cache
def official(shared, seed: int):
    return to_variables("dave", {f"module.{k}": v for k, v in golden.state_dict(shared, "dave/dave", seed).items()})


def inputs(shared, recorded, seed: int, size: str = "") -> dict[str, np.ndarray]:
    video = golden.drawn_input(shared, "video", recorded[f"{size}video_shape"], seed)
    audio = golden.drawn_input(shared, "audio", recorded[f"{size}audio_shape"], seed)
    return {"video": video.transpose(0, 2, 3, 4, 1), "spectrogram": audio.transpose(0, 2, 3, 4, 1)}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_official_network(shared, seed):
    recorded = golden.load(shared, "dave/dave", seed)
    out = RUN(official(shared, seed), inputs(shared, recorded, seed))
    np.testing.assert_allclose(out["logits"], recorded["logits"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(out["saliency"], recorded["output"], rtol=0, atol=1e-5)
    for stage in range(1, 5):
        golden.assert_tap(recorded, f"video_layer{stage}", out[f"layer{stage}"])
        golden.assert_tap(recorded, f"audio_layer{stage}", out[f"audio_layer{stage}"])
    golden.assert_tap(recorded, "audio_pooled", np.asarray(out["audio_features"])[:, :, None, None])
    for name in ("upscale1", "upscale2"):
        golden.assert_tap(recorded, name, out[name])


@pytest.mark.slow
def test_equals_the_official_network_at_its_own_size(shared):
    recorded = golden.load(shared, "dave/dave", 0)
    out = RUN(official(shared, 0), inputs(shared, recorded, 0, "full_"))
    np.testing.assert_allclose(out["logits"], recorded["full_logits"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(out["saliency"], recorded["full_output"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(out["audio_features"][:, 0], recorded["full_audio_pooled"], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_training_step_equals_the_official_one_with_detached_shortcuts_and_without(shared, monkeypatch):
    recorded, small = golden.load(shared, "dave/dave_train", 0), golden.load(shared, "dave/dave", 0)
    drawn, batch = official(shared, 0), inputs(shared, small, 0)
    model = models.create("dave", detach_shortcut=True, activation="softplus")

    def step(params, passed, batch, target):
        # One program for both: this share of the gradient passes what the network detaches.
        detach = lambda x: (1 - passed) * jax.lax.stop_gradient(x) + passed * x  # noqa: E731
        monkeypatch.setattr(resnet, "lax", SimpleNamespace(**{**vars(resnet.lax), "stop_gradient": detach}))
        out, updates = model.apply({**drawn, "params": params}, batch, True, mutable=["batch_stats"])
        return kl(out["saliency"], target).mean(), (out["logits"], updates["batch_stats"])

    run, layout = step_jit(jax.value_and_grad(step, has_aux=True)), find("dave", {})
    for passed, key in ((0.0, "grad_norms"), (1.0, "grad_norms_if_shortcut_not_detached")):
        (loss, (logits, stats)), gradients = run(drawn["params"], passed, batch, recorded["target"])
        np.testing.assert_allclose(loss, recorded["loss"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(logits, recorded["logits_train_mode"], rtol=0, atol=1e-5)
        flat = traverse_util.flatten_dict({"params": gradients})
        norms = {checkpoint_key(path, layout): np.linalg.norm(leaf) for path, leaf in flat.items()}
        expected = {k: n for k, n in zip(recorded["grad_names"], recorded[key], strict=True) if np.isfinite(n)}
        assert norms.keys() == expected.keys()
        for name, norm in norms.items():
            np.testing.assert_allclose(norm, expected[name], rtol=5e-3, err_msg=name)
    kept = traverse_util.flatten_dict({"batch_stats": stats})
    kept = {checkpoint_key(path, layout): leaf for path, leaf in kept.items()}
    for branch in ("video_branch.bn1", "video_branch.layer2.0.bn1", "audio_branch.layer4.1.bn2"):
        for name in ("running_mean", "running_var"):
            np.testing.assert_allclose(kept[f"{branch}.{name}"], recorded[f"{name}_after1:{branch}"], rtol=0, atol=1e-5)


def test_a_checkpoint_is_known_and_its_idle_entries_by_name():
    layout = find("dave", {})
    drawn = layout.variables({}, {})
    assert sum(x.size for x in jax.tree.leaves(drawn["params"])) == 69_747_485 - 212_636
    idle = ("audio_branch.fc_new.bias", "upscale2.bn.running_var")
    others = ("audio_branch.fc.bias", "upscale3.bn.running_var")
    assert [bool(re.search(layout.unused, key)) for key in (*idle, *others)] == [True, True, False, False]


# ---------------------------------------------------------------- the front end


def test_the_front_end_is_the_official_one(shared):
    cases, recorded = golden.processing(shared, "dave/dave_frontend")
    draw = lambda samples, seed: golden.drawn_input(shared, "wave", (samples,), seed)  # noqa: E731
    t = np.arange(48000) / 16000
    waves = {"chirp": 0.5 * np.sin(2 * np.pi * (200 * t + 900 * t**2)), "silence": np.zeros(48000)}
    waves |= {f"noise_seed{seed}": np.float32(0.1) * draw(48000, seed) for seed in (0, 1)}
    waves["short_seed0"] = np.float32(0.1) * draw(16160, 0)
    assert waves.keys() == {name for name, case in cases["cases"].items() if "logmel_shape" in case}
    np.testing.assert_allclose(vggish.mel_matrix(), recorded["mel_matrix"], rtol=0, atol=1e-7)
    for name, wave in waves.items():
        found = vggish.log_mel(jnp.asarray(wave, jnp.float32)[None])[0]
        np.testing.assert_allclose(found, recorded[f"logmel:{name}"], rtol=0, atol=1e-3, err_msg=name)
    # Patches of a waveform that lasts for 16 at the distance of 25 frames a second.
    wave = waves["noise_seed0"][: (15 * 4 + 63) * 160 + 400]
    patches = vggish.patches(jnp.asarray(wave)[None], 16)[0]
    for i, patch in enumerate(patches):
        np.testing.assert_allclose(patch, recorded["logmel:noise_seed0"][4 * i : 4 * i + 64], atol=1e-3)


# ---------------------------------------------------------------- the two streams

TINY = {"width": 1 / 16, "depths": (1, 1, 1, 1), "clip_size": 16}
CLASSIFIER = {"width": 0.1, "frame_size": 32, "sample_rate": 8000, "audio_seconds": 0.25}
CLASSIFIER |= {"nperseg": 80, "noverlap": 40, "nfft": 80}
WAVE = 0.1 * normal(1, 3, (15 * 3 + 63) * 160 + 400)
BATCH = {
    "video": normal(0, 3, 16, 64, 64, 3),
    "spectrogram": vggish.patches(WAVE, 16),
    "avc_frames": normal(2, 3, 1, 32, 32, 3),
    "avc_audio": 0.1 * normal(3, 3, 2000),
    "avc_label": np.array([1, 0, -1], np.int32),
}
FLOWS = {
    "v": {"gate": "never"},
    "av": {"gate": "always"},
    "oracle": {"gate": "labels"},
    "oracle_out": {"gate": "labels", "gate_at": "output"},
    "star": {"gate": "classifier", "classifier_options": CLASSIFIER},
}
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def tiny(**options):
    return models.create("dave", **TINY | options)


@functools.cache
def flows():
    """The variables of the gated model, and the outputs of every gate and form of the audio."""
    drawn = variables(shapes(tiny(**FLOWS["star"]), BATCH))
    own = [WAVE[:, 160 * 3 * i :][:, : vggish.PATCH] for i in range(16)]
    seen = {"video": BATCH["video"]}
    forms = {
        "three": seen | {"spectrogram": np.repeat(BATCH["spectrogram"][..., None], 3, -1)},
        "wave": seen | {"audio": WAVE},
        "waves": seen | {"audio": np.stack(own, 1)},
        "silent": seen | {"audio": 0 * WAVE},
    }

    @forward_jit
    def run(drawn, batch, forms):
        outs = {name: tiny(**options).apply(drawn, batch) for name, options in FLOWS.items()}
        return outs | {name: tiny().apply(drawn, batch) for name, batch in forms.items()}

    return drawn, run(drawn, BATCH, forms)


@pytest.mark.slow
def test_all_forms_of_the_audio_are_one():
    _, outs = flows()
    for name in ("three", "wave", "waves"):
        np.testing.assert_allclose(outs[name]["logits"], outs["av"]["logits"], **CLOSE, err_msg=name)
    assert np.abs(outs["silent"]["logits"] - outs["av"]["logits"]).max() > 1e-2
    assert np.isfinite(outs["silent"]["logits"]).all()


def test_the_closed_gate_is_an_audio_vector_of_zeros():
    drawn, outs = flows()
    joint = drawn["params"]["fusion"]["conv"]
    kernel, channels = joint["kernel"][0, 0, 0], outs["v"]["layer4"].shape[-1]
    closed = np.maximum(outs["v"]["layer4"] @ kernel[:channels] + joint["bias"], 0)
    np.testing.assert_allclose(outs["v"]["dec_in"], closed, **CLOSE)
    heard = outs["av"]["audio_features"][:, :, None, None] @ kernel[channels:]
    opened = np.maximum(outs["v"]["layer4"] @ kernel[:channels] + joint["bias"] + heard, 0)
    np.testing.assert_allclose(outs["av"]["dec_in"], opened, **CLOSE)


@pytest.mark.parametrize("name", ["oracle", "oracle_out", "star"])
def test_each_clip_gets_the_flow_that_the_gate_says(name):
    _, outs = flows()
    gated, v, av = outs[name], outs["v"], outs["av"]
    assert np.abs(av["logits"] - v["logits"]).max() > 1e-2, "the streams do not differ"
    expected = np.where(gated["gate"][:, None, None], av["logits"], v["logits"])
    np.testing.assert_allclose(gated["logits"], expected, **CLOSE)
    np.testing.assert_array_equal(gated["saliency"], np.maximum(gated["logits"], 0))


OF_FUSIONS = {"concat": {}, "spatial_alignment": {}, "localisation": {"features": 0}, "bilinear": {}}
OF_FUSIONS |= {"transformer": {"num_heads": 1}, "bilinear_transformer": {"num_heads": 1}}


@pytest.mark.parametrize("fusion", OF_FUSIONS)
def test_fusions_swap(fusion):
    options = OF_FUSIONS[fusion]
    out = jax.eval_shape(
        lambda batch: tiny(fusion=fusion, fusion_options=options).init_with_output(jax.random.key(0), batch)[0], BATCH
    )
    assert out["logits"].shape == (3, 8, 8)


def test_maps_have_four_pixels_for_each_32_of_a_frame_that_has_begun():
    for size, expected in (((33, 65), (8, 12)), ((32, 20), (4, 4))):
        batch = {"video": np.zeros((1, 5, *size, 3), np.float32), "spectrogram": np.zeros((1, 9, 33, 64), np.float32)}
        assert shapes_out(batch)["logits"].shape == (1, *expected)


def shapes_out(batch, train=False, **options):
    def run(batch):
        return tiny(**options).init_with_output(jax.random.key(0), batch, train)[0]

    return jax.eval_shape(run, batch)


def test_shortcut_b_has_weights_and_the_audio_trunk_alone_is_daves():
    plain = shapes(tiny(), BATCH)["params"]
    assert "downsample_0" in shapes(tiny(shortcut="B"), BATCH)["params"]["video_branch"]["layer2_0"]
    assert "downsample_0" not in plain["video_branch"]["layer2_0"]
    alone = shapes(models.create("dave_audio", **TINY, num_tags=4), BATCH)["params"]
    assert alone.pop("tag_head")["bias"].shape == (4,)
    assert jax.tree.map(lambda x: x.shape, alone) == jax.tree.map(lambda x: x.shape, plain["audio_branch"])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"spectrogram": np.zeros((3, 16, 96, 64), np.float32)}, {}, "sides from 33 to 64"),
        ({"spectrogram": np.zeros((3, 17, 64, 64), np.float32)}, {}, "audio has 17 frames: give dave 1 to 16"),
        ({"video": np.zeros((3, 17, 64, 64, 3), np.float32)}, {}, "video has 17 frames"),
        ({"spectrogram": None, "audio": np.zeros((3, 10479), np.float32)}, {}, "10479 samples: give at least 10480"),
        ({"spectrogram": None, "audio": np.zeros(20480, np.float32)}, {}, "audio has shape .20480,.: give .b s."),
        ({"spectrogram": None}, {}, "no 'audio'"),
        ({"spectrogram": np.zeros((3, 64, 64), np.float32)}, {}, "spectrogram has shape .3, 64, 64.:"),
        ({}, {"depths": (1, 1, 1)}, "depths has 3 stages: give four"),
        ({}, {"shortcut": "C"}, "unknown shortcut 'C': choose one of A, B"),
        ({}, {"activation": "sigmoid"}, "unknown activation 'sigmoid': choose one of relu, softplus"),
        ({}, {"clip_size": 32}, "a clip has 32 frames"),
    ],
)
def test_what_does_not_fit_is_refused(change, options, message):
    batch = {key: value for key, value in (BATCH | change).items() if value is not None}
    with pytest.raises(InputError, match=message):
        shapes_out(batch, **options)


def test_frames_of_which_maps_have_no_eighth_are_not_trained_on():
    with pytest.raises(InputError, match="48x64 pixels: train dave with multiples of 32"):
        shapes_out(BATCH | {"video": np.zeros((3, 16, 48, 64, 3), np.float32)}, train=True)


def test_detached_shortcuts_pass_no_gradient():
    block = {True: 0.0, False: 1.0}

    @fast_jit
    def slopes(x):
        def total(x, detach):
            norm = functools.partial(resnet.BatchNorm, 0.9, 1e-5)
            conv = lambda features, size, stride, name: resnet.Conv2D(features, size, stride, name=name)  # noqa: E731
            layer = resnet.BasicBlock(8, conv, norm, 2, "A", detach)
            empty = jax.tree.map(lambda leaf: 0 * leaf, layer.init(jax.random.key(0), x, False))
            return layer.apply(empty, x, False).sum()

        return {detach: jax.grad(total)(x, detach) for detach in block}

    for detach, slope in slopes(np.ones((1, 4, 4, 4), np.float32)).items():
        assert slope[0, 0, 0, 0] == slope[0, 2, 2, 3] == block[detach]
        assert not slope[:, 1].any()
