"""AVID, its heads and its front end against the official code and librosa."""

import functools

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import fast_jit, flat_shapes, forward_jit, normal, shapes, variables
from flax import traverse_util

from avsd_jax.errors import InputError
from avsd_jax.models import classifiers
from avsd_jax.nn.avid_spectrogram import log_power
from avsd_jax.nn.r2plus1d import R2Plus1D
from avsd_jax.nn.spectrogram_convnet import SpectrogramConvNet
from avsd_jax.torch_import import to_variables
from avsd_jax.torch_weights.layout import checkpoint_key
from avsd_jax.torch_weights.layouts import find

# A laptop's AVID: 8 kHz, small frames.
SMALL = {
    "width": 1 / 16,
    "num_frames": 4,
    "frame_size": 32,
    "sample_rate": 8000,
    "audio_seconds": 0.25,
    "n_fft": 128,
    "hop": 80,
}


def _inputs(recorded: dict, seed: int) -> tuple[np.ndarray, np.ndarray]:
    video = golden.drawn_input(recorded["shared"], "video", tuple(recorded["video_shape"].tolist()), seed)
    audio = golden.drawn_input(recorded["shared"], "audio", tuple(recorded["audio_shape"].tolist()), seed)
    return np.moveaxis(video, 1, -1), audio[:, 0]


def _load(shared, case: str, seed: int) -> dict:
    return golden.load(shared, f"avc/{case}", seed) | {"shared": shared}


def _assert_close(x: np.ndarray, recorded: np.ndarray, tolerance: float = 1e-4) -> None:
    limit = tolerance * np.sqrt(np.mean(np.square(recorded)))
    np.testing.assert_allclose(x, recorded, rtol=0, atol=limit)


@functools.cache
def _embed():
    """Projections and what the encoders return."""
    model = classifiers.create("avid")

    def run(variables, frames, audio):
        out, kept = model.apply(
            variables,
            frames,
            audio,
            method="embed",
            capture_intermediates=lambda module, _: isinstance(module, (R2Plus1D, SpectrogramConvNet)),
            mutable=["intermediates"],
        )
        encoders = {name: kept["intermediates"][f"{name}_model"]["__call__"][0] for name in ("video", "audio")}
        return out, encoders

    return jax.jit(run)


@pytest.mark.parametrize(
    ("case", "seed"),
    [
        ("avid_small", 0),
        ("avid_small", 1),
        pytest.param("avid", 0, marks=pytest.mark.slow),
        pytest.param("avid", 1, marks=pytest.mark.slow),
        pytest.param("avid_32f", 0, marks=pytest.mark.slow),
    ],
)
def test_equals_the_official_network(shared, case, seed):
    recorded = _load(shared, case, seed)
    drawn = to_variables("avid", golden.state_dict(shared, "avc/avid", seed))
    embeddings, encoders = _embed()(drawn, *_inputs(recorded, seed))
    for kind, taps in encoders.items():
        _assert_close(embeddings[kind], recorded[f"{kind}_emb"])
        _assert_close(taps.pop("pool"), recorded[f"{kind}_pool"])
        for name, tap in taps.items():
            x = golden.channels_first(tap)
            assert x.shape == tuple(recorded[f"{kind}_{name}_shape"])
            _assert_close(x.mean(axis=tuple(range(2, x.ndim))), recorded[f"{kind}_{name}_mean"])
            first, last = (x[:, :, 0], x[:, :, -1]) if x.ndim == 5 else (x, x)
            _assert_close(first[:, :4, :6, :6], recorded[f"{kind}_{name}_corner"])
            _assert_close(last[:, :4, -6:, -6:], recorded[f"{kind}_{name}_last"])
    if "video_conv5x" in recorded:
        _assert_close(golden.channels_first(encoders["video"]["conv5x"]), recorded["video_conv5x"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_head_equals_the_official_one(shared, seed):
    recorded = _load(shared, "avid_avchead", seed)
    drawn = to_variables("avid_avchead", golden.state_dict(shared, "avc/avid_avchead", seed))
    logits = jax.jit(classifiers.create("avid").apply)(drawn, *_inputs(recorded, seed))
    # There class 0 is "corresponds", here class 1.
    _assert_close(logits[:, ::-1], recorded["logits"])


@pytest.mark.slow
def test_training_equals_the_official_network(shared):
    """Outputs, loss, running statistics and gradients of one step of the mean cosine.

    In float64, where rounding decides nothing: it switches ReLUs of the video's encoder, whose gradients in float32
    are therefore up to a tenth of their RMS from those of another machine, and the recorded ones 4 % from these.
    """
    recorded = _load(shared, "avid_train_small", 0)
    model = classifiers.create("avid")
    drawn = to_variables("avid", golden.state_dict(shared, "avc/avid", 0))

    def loss(params, frames, audio):
        out, updated = model.apply(
            {**drawn, "params": params}, frames, audio, True, method="embed", mutable=["batch_stats"]
        )
        video, sound = (out[k] / jnp.linalg.norm(out[k], axis=-1, keepdims=True) for k in ("video", "audio"))
        return -jnp.mean(jnp.sum(video * sound, axis=-1)), (out, updated["batch_stats"])

    with jax.enable_x64(True):
        drawn = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), drawn)
        inputs = [x.astype(np.float64) for x in _inputs(recorded, 0)]
        (value, (out, stats)), grads = fast_jit(jax.value_and_grad(loss, has_aux=True))(drawn["params"], *inputs)
    _assert_close(out["video"], recorded["video_emb"])
    _assert_close(out["audio"], recorded["audio_emb"])
    np.testing.assert_allclose(value, recorded["loss"], rtol=1e-4)
    layout = find("avid", {})
    flat = {
        checkpoint_key(path, layout): np.asarray(leaf)
        for path, leaf in traverse_util.flatten_dict({"params": grads, "batch_stats": stats}).items()
    }
    compared = 0
    for name, expected in recorded.items():
        kind, _, key = name.partition(":")
        if kind == "stat":
            _assert_close(flat[key], expected)
        elif kind == "grad_norm":
            np.testing.assert_allclose(np.linalg.norm(flat[key]), expected, rtol=1e-3)
        elif kind == "grad":
            grad = flat[key]
            stored = np.moveaxis(grad, (-1, -2), (0, 1)) if grad.ndim > 1 else grad
            share = 5e-2 if key.startswith("video_model.") else 1e-3
            limit = share * recorded[f"grad_norm:{key}"] / np.sqrt(grad.size)
            np.testing.assert_allclose(stored.ravel()[:256], expected, rtol=0, atol=max(limit, 1e-6))
        compared += bool(key)
    assert compared == 20


# ---------------------------------------------------------------- front end


def _assert_close_spectrogram(x: np.ndarray, recorded: np.ndarray) -> None:
    """In float32 a bin far below the clip's loudest is rounding noise, there as here."""
    error = np.abs(np.asarray(x) - recorded)
    limit = 1e-4 * np.sqrt(np.mean(np.square(recorded)))
    assert np.mean(error < limit) > 0.999
    assert error.max() < 30 * limit


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("padding", ["reflect", "constant"])
def test_front_end_equals_the_official_one(shared, seed, padding):
    recorded = golden.load(shared, "avc/frontend_avid", seed)
    classifier = classifiers.create("avid", padding=padding)
    assert classifier.inputs.sample_rate == recorded["sample_rate"]
    waveform = recorded["wave"][None]
    decibels = jax.jit(lambda x: log_power(x, 1024, 240, padding))(waveform)
    _assert_close_spectrogram(decibels, recorded[f"db_{padding}"])
    _assert_close_spectrogram(jax.jit(classifier.front_end)(waveform), recorded[f"norm_{padding}"])


def test_front_end_of_silence_and_of_other_lengths(shared):
    with np.load(shared / "parity/avc/golden_frontend_avid_edge.npz") as recorded:
        wave = golden.load(shared, "avc/frontend_avid", 0)["wave"]
        front_end = jax.jit(classifiers.create("avid").front_end)
        np.testing.assert_allclose(front_end(jnp.zeros((1, 48000))), recorded["silence"], rtol=1e-6)
        _assert_close_spectrogram(front_end(recorded["short_wave"][None]), recorded["short"])
        _assert_close_spectrogram(front_end(np.pad(wave, (0, 9000), constant_values=0.5)[None]), recorded["long"])


# ---------------------------------------------------------------- heads


def test_embeddings_head_is_a_perceptron_on_both_projections():
    """And spectrograms with frequency first give the same."""
    classifier = classifiers.create("avid", head="embeddings", **SMALL)
    frames, audio = normal(0, 2, 4, 32, 32, 3), classifier.front_end(0.1 * normal(1, 2, 2000))
    assert audio.shape == (2, 25, 33)
    drawn = variables(shapes(classifier, frames, audio))

    @forward_jit
    def run(frames, audio):
        turned = audio.swapaxes(1, 2)
        return classifier.apply(drawn, frames, turned), classifier.apply(drawn, frames, audio, method="embed")

    logits, embeddings = run(frames, audio)
    first, second = (drawn["params"][f"classifier_{n}"] for n in (0, 2))
    hidden = jnp.concatenate([embeddings["video"], embeddings["audio"]], axis=-1) @ first["kernel"] + first["bias"]
    expected = jnp.maximum(hidden, 0) @ second["kernel"] + second["bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    assert np.ptp(logits, axis=0).min() > 1e-3


def test_cosine_head_scores_without_training(shared):
    """The probability grows with the cosine of the projections, a half where they are orthogonal."""
    recorded = _load(shared, "avid_small", 0)
    model = classifiers.create("avid", head="cosine")
    frames, audio = _inputs(recorded, 0)
    drawn = to_variables("avid", golden.state_dict(shared, "avc/avid", 0))
    drawn["params"]["score"] = {"scale": jnp.float32(1 / 0.07), "shift": jnp.float32(0)}
    logits = forward_jit(model.apply)(drawn, frames, audio)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], recorded["cosine"] / 0.07, rtol=1e-3)


def test_official_size():
    tree = shapes(classifiers.create("avid"), jnp.zeros((1, 8, 64, 64, 3)), jnp.zeros((1, 200, 257)))
    sizes = flat_shapes(tree["params"])
    assert sizes["video_model/conv3x_0/res_conv/kernel"] == (1, 1, 1, 64, 128)
    published = {k: s for k, s in sizes.items() if not k.startswith("classifier")}
    assert sum(np.prod(s, dtype=int) for s in published.values()) == 21_286_784


def test_mistakes_are_named():
    with pytest.raises(InputError, match="spectrograms of 33 frequency bins and got"):
        shapes(classifiers.create("avid", **SMALL), jnp.zeros((1, 4, 32, 32, 3)), jnp.zeros((1, 25, 257)))
    with pytest.raises(InputError, match="unknown head 'h1': choose one of features, cosine, embeddings"):
        shapes(classifiers.create("avid", head="h1"), jnp.zeros((1, 4, 32, 32, 3)), jnp.zeros((1, 25, 257)))
    with pytest.raises(InputError, match="unknown padding 'zeros': choose one of reflect, constant"):
        classifiers.create("avid", padding="zeros").front_end(jnp.zeros((1, 48000)))
    with pytest.raises(InputError, match="n_fft is 66: give a multiple of 4"):
        classifiers.create("avid", n_fft=66).front_end(jnp.zeros((1, 48000)))
    with pytest.raises(InputError, match="audio has 480 samples: give at least 513"):
        classifiers.create("avid", audio_seconds=0.02).front_end(jnp.zeros((1, 480)))
