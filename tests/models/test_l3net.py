"""L3-Net and its front end against the public port, SciPy and librosa."""

import functools

import golden
import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.signal
from drawn import flat_shapes, forward_jit, normal, shapes, variables

from avsd_jax.errors import InputError
from avsd_jax.models import classifiers
from avsd_jax.models.classifiers.l3net import Tower
from avsd_jax.nn.spectrogram import power_density, stft
from avsd_jax.torch_import import to_variables

# A laptop's L3-Net: 8 kHz, small frames.
SMALL = {
    "width": 0.1,
    "frame_size": 32,
    "sample_rate": 8000,
    "audio_seconds": 0.25,
    "nperseg": 80,
    "noverlap": 40,
    "nfft": 128,
}


@functools.cache
def _apply(stride: int):
    """Logits and what the towers return."""
    model = classifiers.create("l3net", stride=stride)

    def run(variables, frames, audio):
        logits, kept = model.apply(
            variables,
            frames,
            audio,
            capture_intermediates=lambda module, _: isinstance(module, Tower),
            mutable=["intermediates"],
        )
        towers = {name: kept["intermediates"][name]["__call__"][0] for name in ("icn", "acn")}
        return logits, towers

    return jax.jit(run)


def _run(shared, case: str, seed: int, stride: int):
    recorded = golden.load(shared, f"avc/{case}", seed)
    drawn = to_variables("l3net", golden.state_dict(shared, "avc/l3net", seed))
    image = golden.drawn_input(shared, "image", recorded["image_shape"], seed)
    audio = golden.drawn_input(shared, "audio", recorded["audio_shape"], seed)
    frames = image.transpose(0, 2, 3, 1)[:, None]
    logits, towers = _apply(stride)(drawn, frames, audio[:, 0])
    return recorded, np.asarray(logits), towers


def _assert_close(x: np.ndarray, recorded: np.ndarray) -> None:
    limit = 1e-4 * np.sqrt(np.mean(recorded**2))
    np.testing.assert_allclose(x, recorded, rtol=0, atol=limit)


def _assert_equals_port(recorded: dict, logits: np.ndarray, towers: dict) -> None:
    # The port's class 0 is "corresponds", ours is class 1.
    _assert_close(logits[:, ::-1], recorded["logits"])
    _assert_close(towers["icn"]["embedding"], recorded["image_emb"])
    _assert_close(towers["acn"]["embedding"], recorded["audio_emb"])


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", ["l3net_small", pytest.param("l3net", marks=pytest.mark.slow)])
def test_equals_the_port(shared, case, seed):
    recorded, logits, towers = _run(shared, case, seed, 2)
    _assert_equals_port(recorded, logits, towers)
    layers = {"block1": "pool1", "block2": "pool2", "block3": "pool3", "block4": "bn4_2"}
    for tower, maps in towers.items():
        for ours, theirs in layers.items():
            x = golden.channels_first(maps[ours])
            assert x.shape == tuple(recorded[f"{tower}.{theirs}_shape"])
            # The port's last tap is taken before the ReLU.
            _assert_close(x[:, :4, :6, :6], np.maximum(recorded[f"{tower}.{theirs}_corner"], 0))
            _assert_close(x[:, :4, -6:, -6:], np.maximum(recorded[f"{tower}.{theirs}_last"], 0))
            if theirs != "bn4_2":
                _assert_close(x.mean(axis=(2, 3)), recorded[f"{tower}.{theirs}_mean"])


@pytest.mark.parametrize("seed", [0, 1])
def test_stride_1_equals_the_port(shared, seed):
    _assert_equals_port(*_run(shared, "l3net_stride1_small", seed, 1))


@pytest.mark.parametrize("seed", [0, 1])
def test_front_end_equals_the_port(shared, seed):
    recorded = golden.load(shared, "avc/frontend_ots", seed)
    classifier = classifiers.create("l3net")
    assert classifier.inputs.sample_rate == recorded["sample_rate"]
    waveform = jnp.asarray(recorded["wave_int16"] / np.float32(32768))[None]
    expected = recorded["port_model_input"]
    error = np.abs(np.asarray(jax.jit(classifier.front_end)(waveform))[0] - expected)
    # In float32 a bin far below the loudest of its window is rounding noise, in the port as here.
    audible = expected > expected.max(axis=0) - 60 / 26.68
    limit = 1e-4 * np.sqrt(np.mean(expected**2))
    assert error[audible].max() < limit
    assert np.mean(error < limit) > 0.9998
    assert error.max() < 1e-3


@pytest.mark.parametrize(
    ("rate", "window", "overlap", "n_fft"),
    [(48000, 480, 240, 512), (16000, 256, 160, 256), (8000, 80, 30, 127)],
)
def test_power_density_equals_scipy(rate, window, overlap, n_fft):
    waveform = normal(0, 2, 4000) + 3
    expected = scipy.signal.spectrogram(
        np.asarray(waveform, np.float64), rate, nperseg=window, noverlap=overlap, nfft=n_fft
    )[2]
    power = jax.jit(power_density, static_argnums=(1, 2, 3, 4))(waveform, rate, window, overlap, n_fft)
    np.testing.assert_allclose(power, expected, rtol=1e-4, atol=1e-6 * expected.max())


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("n_fft", "hop"), [(512, 160), (400, 100)])
def test_stft_equals_librosa(n_fft, hop, center):
    waveform = normal(0, 2, 5001)
    expected = librosa.stft(np.asarray(waveform), n_fft=n_fft, hop_length=hop, center=center)
    transform = jax.jit(stft, static_argnames=("n_fft", "hop", "center"))
    np.testing.assert_allclose(transform(waveform, n_fft=n_fft, hop=hop, center=center), expected, rtol=0, atol=2e-5)


def test_small_network():
    classifier = classifiers.create("l3net", **SMALL)
    assert (classifier.inputs.frame_size, classifier.inputs.sample_rate) == (32, 8000)
    frames, waveform = normal(0, 2, 1, 32, 32, 3), 0.1 * normal(1, 2, 2000)
    spectrogram = jax.jit(classifier.front_end)(waveform)
    assert spectrogram.shape == (2, 65, 49)
    drawn = variables(shapes(classifier, frames, spectrogram))
    logits = forward_jit(classifier.apply)(drawn, frames, spectrogram)
    assert logits.shape == (2, 2)
    assert np.isfinite(logits).all()
    half = jax.eval_shape(classifier.front_end, jax.ShapeDtypeStruct((2, 2000), jnp.bfloat16))
    assert half.dtype == jnp.bfloat16


def test_official_size():
    tree = shapes(classifiers.create("l3net"), jnp.zeros((1, 1, 224, 224, 3)), jnp.zeros((1, 257, 199)))
    sizes = flat_shapes(tree["params"])
    assert sizes["acn/conv1_1/kernel"] == (3, 3, 1, 64)
    assert sizes["fc1/kernel"] == (1024, 128)
    assert sum(np.prod(s) for s in sizes.values()) == pytest.approx(9.51e6, rel=1e-3)


def test_mistakes_are_named():
    classifier = classifiers.create("l3net", **SMALL)
    with pytest.raises(InputError, match=r"got 2: give avc_frames \[B, 1, H, W, 3\]"):
        shapes(classifier, jnp.zeros((1, 2, 32, 32, 3)), jnp.zeros((1, 65, 49)))
    with pytest.raises(InputError, match="79 samples: give at least 80"):
        classifier.front_end(jnp.zeros((1, 79)))
    with pytest.raises(InputError, match="unknown classifier 'ear': choose one of .*l3net, .*soundswitch_av"):
        classifiers.create("ear")
