"""VGGSound's audio network and STANet's SoundSwitches against the official ones, and their front end."""

import functools

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import forward_jit, normal, shapes, variables

from avsd_jax import models
from avsd_jax.errors import InputError
from avsd_jax.models import classifiers
from avsd_jax.nn.spectrogram import normalised_log_power
from avsd_jax.nn.vggsound import NetVLAD, l2_normalise
from avsd_jax.torch_import import options, to_variables


def assert_close(ours, recorded: np.ndarray) -> None:
    """Equal to 1e-4 of the array's largest value."""
    ours = np.asarray(ours)
    assert ours.shape == recorded.shape
    np.testing.assert_allclose(ours, recorded, rtol=0, atol=1e-4 * np.abs(recorded).max())


# ---------------------------------------------------------------- front end


@pytest.mark.parametrize("seed", [0, 1])
def test_front_end_equals_the_official_one(shared, seed):
    recorded = golden.load(shared, "stanet/stft", seed)
    wave = 0.1 * golden.drawn_input(shared, "wav", (160000,), seed)
    for frame in (0, 1, 124, 249):
        start = frame * int(recorded["step"])
        spectrogram = jax.jit(normalised_log_power)(wave[None, start : start + 8000])
        assert_close(spectrogram[0], recorded[f"frame{frame}"])
    spectrogram = jax.jit(normalised_log_power)(wave[None])
    assert spectrogram.shape == (1, *recorded["vggsound10s_shape"])
    assert_close(spectrogram[0, ::4, ::8], recorded["vggsound10s_s4x8"])


def test_front_end_of_silence_is_finite():
    assert np.isfinite(normalised_log_power(jnp.zeros((1, 8000)))).all()


# ---------------------------------------------------------------- VGGSound


@functools.cache
def _vggsound(pool: str):
    model = models.create("vggsound", pool=pool)
    return forward_jit(lambda variables, spectrogram: model.apply(variables, {"spectrogram": spectrogram}))


@pytest.mark.parametrize("pool", ["vlad", "avgpool"])
def test_equals_the_official_network(shared, pool):
    case = f"vggsound_{pool}"
    recorded = golden.load(shared, f"stanet/{case}")
    checkpoint = golden.state_dict(shared, f"stanet/{case}")
    assert options("vggsound", checkpoint) == ({} if pool == "vlad" else {"pool": "avgpool"})
    imported = to_variables("vggsound", checkpoint)
    out = _vggsound(pool)(imported, golden.drawn_input(shared, "audio", (2, 1, 257, 200))[:, 0])
    assert_close(golden.channels_first(out["layer1"])[0, :16], recorded["tap_layer1_b0_c0_15"])
    assert_close(golden.channels_first(out["layer4"]), recorded["tap_layer4"])
    assert_close(out["audio_features"], recorded["tap_pool"])
    assert_close(out["class_logits"], recorded["out_logits"])
    short = _vggsound(pool)(imported, golden.drawn_input(shared, "audio48", (2, 1, 257, 48))[:, 0])
    assert_close(short["class_logits"], recorded["out_logits_t48"])


def test_vlad_has_unit_length_and_a_gradient_even_where_nothing_is_heard():
    pool = NetVLAD(4)
    x = jnp.zeros((1, 2, 3, 5)).at[0, 0, 0].set(1.0)
    drawn = pool.init(jax.random.key(0), x)
    vector, gradient = jax.value_and_grad(lambda x: jnp.sum(jnp.square(pool.apply(drawn, x))))(x)
    np.testing.assert_allclose(vector, 1, rtol=1e-6)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(l2_normalise(jnp.zeros(3)), 0)


def test_an_unknown_pool_is_named():
    with pytest.raises(InputError, match="unknown pool 'max': choose one of vlad, avgpool"):
        shapes(models.create("vggsound", pool="max"), {"audio": jnp.zeros((1, 8000))})


# ---------------------------------------------------------------- SoundSwitch


def _nothing(num: int = 2) -> jax.Array:
    return jnp.zeros((num, 1, 8, 8, 3))


@functools.cache
def _switch(name: str, **options):
    model = classifiers.create(name, **options)
    return forward_jit(
        lambda variables, frames, audio: model.apply(
            variables, frames, audio, capture_intermediates=True, mutable=["intermediates"]
        )
    )


def _run_switch(shared, name: str, case: str, frames: jax.Array, **options):
    recorded = golden.load(shared, f"stanet/{case}")
    imported = to_variables(name, golden.state_dict(shared, f"stanet/{name}"))
    audio = golden.drawn_input(shared, "audio", (2, 1, 257, 48))[:, 0]
    logits, kept = _switch(name, **options)(imported, frames, audio)
    return recorded, logits, kept["intermediates"]


def test_the_switch_by_sound_equals_the_official_one(shared):
    recorded, logits, taps = _run_switch(shared, "soundswitch_audio", "switch_audio", _nothing())
    assert_close(golden.channels_first(taps["layerA"]["__call__"][0]["layer4"]), recorded["tap_layerA"])
    assert_close(taps["Afc1"]["__call__"][0], recorded["tap_Afc1"])
    assert_close(taps["Afc3"]["__call__"][0], recorded["tap_Afc3_prerelu"])
    assert_close(jax.nn.softmax(logits), recorded["out_softmax"])


@pytest.mark.slow
def test_the_switch_by_sound_and_picture_equals_the_official_one(shared):
    frames = 2 * golden.drawn_input(shared, "video", (2, 3, 356, 356)).transpose(0, 2, 3, 1)[:, None]
    recorded, logits, taps = _run_switch(shared, "soundswitch_av", "switch_av", frames)
    for name in ("layerA_d", "layerV_d", "bilinear"):
        assert_close(taps[name]["__call__"][0], recorded[f"tap_{name}" if name != "bilinear" else "tap_extra_bilinear"])
    assert_close(taps["layerA"]["__call__"][0]["pool"], recorded["tap_layerA"])
    assert_close(logits, recorded["out_logits"])
    np.testing.assert_array_equal(logits[:, 1] > 0, recorded["out_switch"] > 0)


SMALL = {
    "soundswitch_audio": {"width": 0.05},
    "soundswitch_av": {"width": 0.05, "depths": (1, 1, 1, 1), "frame_size": 32},
}


@pytest.mark.parametrize("name", SMALL)
def test_a_switch_is_a_classifier(name):
    classifier = classifiers.create(name, **SMALL[name])
    inputs = classifier.inputs
    frames = normal(0, 2, inputs.num_frames, inputs.frame_size, inputs.frame_size, 3)
    waveform = 0.1 * normal(1, 2, round(inputs.audio_seconds * inputs.sample_rate))
    spectrogram = jax.jit(classifier.front_end)(waveform)
    assert spectrogram.shape == (2, 257, 48)
    drawn = variables(shapes(classifier, frames, spectrogram))
    logits = forward_jit(classifier.apply)(drawn, frames, spectrogram)
    assert logits.shape == (2, 2)
    assert np.isfinite(logits).all()


def test_the_published_rule_is_a_threshold_at_zero():
    either, frames, audio = SMALL["soundswitch_av"], normal(0, 3, 1, 32, 32, 3), normal(1, 3, 257, 48)
    drawn = variables(shapes(classifiers.create("soundswitch_av", **either), frames, audio))

    @forward_jit
    def every(drawn):
        return {
            (rule, train): classifiers.create("soundswitch_av", rule=rule, **either).apply(
                drawn, frames, audio, train, mutable=["batch_stats"]
            )[0]
            for rule in ("argmax", "threshold")
            for train in (False, True)
        }

    run = every(drawn)
    np.testing.assert_array_equal(run["argmax", True], run["threshold", True])
    np.testing.assert_array_equal(run["threshold", False], run["argmax", False].at[:, 0].set(0))
    with pytest.raises(InputError, match="unknown rule 'coin': choose one of threshold, argmax"):
        shapes(classifiers.create("soundswitch_av", rule="coin", **either), frames, audio)
    with pytest.raises(InputError, match=r"got 2: give \[B, 1, H, W, 3\]"):
        shapes(classifiers.create("soundswitch_av", **either), normal(0, 3, 2, 32, 32, 3), audio)
