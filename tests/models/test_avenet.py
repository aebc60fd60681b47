"""AVE-Net, the Hard-Way AVENet and OpenL3's audio encoder against the official code, SciPy and librosa."""

import functools

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import fast_jit, normal, shapes, variables
from flax import traverse_util

from avsd_jax.errors import InputError
from avsd_jax.models import classifiers
from avsd_jax.models.classifiers.avenet import euclidean
from avsd_jax.models.classifiers.avenet_hardway import NEGATIVE, POSITIVE, SOFTNESS, contrastive_logits
from avsd_jax.models.classifiers.l3net import Tower
from avsd_jax.nn.openl3 import FRONT_ENDS, OpenL3Audio
from avsd_jax.torch_import import to_variables

SMALL = {"width": 1 / 16, "frame_size": 32, "sample_rate": 8000, "audio_seconds": 0.25}
PORT_WINDOWS = {"nperseg": 80, "noverlap": 40, "nfft": 128}


def _inputs(shared, recorded: dict, seed: int) -> tuple[np.ndarray, np.ndarray]:
    image, audio = (
        golden.drawn_input(shared, kind, tuple(recorded[f"{kind}_shape"].tolist()), seed) for kind in ("image", "audio")
    )
    return image.transpose(0, 2, 3, 1)[:, None], audio[:, 0]


def _assert_close(x: np.ndarray, recorded: np.ndarray) -> None:
    limit = 1e-4 * np.sqrt(np.mean(np.square(recorded)))
    np.testing.assert_allclose(x, recorded, rtol=0, atol=limit)


@functools.cache
def _avenet():
    """Logits and what the layers return, by name."""
    model = classifiers.create("avenet")

    def run(variables, frames, audio):
        wanted = lambda module, _: isinstance(module, Tower) or module.name in ("img_fc2", "aud_fc2")  # noqa: E731
        logits, kept = model.apply(variables, frames, audio, capture_intermediates=wanted, mutable=["intermediates"])
        return logits, {
            name: layer["__call__"][0] for name, layer in kept["intermediates"].items() if name != "__call__"
        }

    return jax.jit(run)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", ["avenet_small", pytest.param("avenet", marks=pytest.mark.slow)])
def test_equals_the_port(shared, case, seed):
    recorded = golden.load(shared, f"avc/{case}", seed)
    drawn = to_variables("avenet", golden.state_dict(shared, "avc/avenet", seed))
    logits, layers = _avenet()(drawn, *_inputs(shared, recorded, seed))
    # The port's class 0 is "corresponds", ours is class 1.
    _assert_close(logits[:, ::-1], recorded["logits"])
    image, audio = (
        np.asarray(layers[f"{kind}_fc2"] / jnp.linalg.norm(layers[f"{kind}_fc2"], axis=-1, keepdims=True))
        for kind in ("img", "aud")
    )
    _assert_close(image, recorded["image_emb"])
    _assert_close(audio, recorded["audio_emb"])
    _assert_close(np.linalg.norm(image - audio, axis=-1), recorded["distance"])
    for tower in ("icn", "acn"):
        for ours, theirs in {"block1": "pool1", "block2": "pool2", "block3": "pool3", "block4": "bn4_2"}.items():
            x = golden.channels_first(layers[tower][ours])
            assert x.shape == tuple(recorded[f"{tower}.{theirs}_shape"])
            # The port's last tap is taken before the ReLU.
            _assert_close(x[:, :4, :6, :6], np.maximum(recorded[f"{tower}.{theirs}_corner"], 0))


def test_distance_has_a_gradient_where_both_are_equal():
    x = jnp.ones((2, 3))
    value, grad = jax.value_and_grad(lambda y: euclidean(x, y).sum())(x.at[1].add(2.0))
    np.testing.assert_allclose(value, np.sqrt(12))
    np.testing.assert_allclose(grad, [[0, 0, 0], np.full(3, 3**-0.5)], rtol=1e-6)


def test_untrained_network_calls_near_pairs_consistent():
    """The published trap: with the other sign, training pushes corresponding pairs apart."""
    classifier = classifiers.create("avenet", **SMALL, **PORT_WINDOWS)
    frames, audio = normal(0, 2, 1, 32, 32, 3), classifier.front_end(0.1 * normal(1, 2, 2000))
    head = fast_jit(lambda: classifier.init(jax.random.key(0), frames, audio)["params"]["fc3"])()
    near, far = (np.array([[d]]) @ head["kernel"] + head["bias"] for d in (0.2, 1.8))
    assert near.argmax() == 1
    assert far.argmax() == 0
    with pytest.raises(InputError, match=r"avenet takes one frame and got 2: give avc_frames \[B, 1, H, W, 3\]"):
        shapes(classifier, jnp.zeros((1, 2, 32, 32, 3)), audio[:1])


# ---------------------------------------------------------------- the hard way


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_hardway_equals_the_official_network(shared, seed):
    recorded = golden.load(shared, "avc/avenet_hardway", seed)
    drawn = to_variables("avenet_hardway", golden.state_dict(shared, "avc/avenet_hardway", seed))
    model = classifiers.create("avenet_hardway")

    @jax.jit
    def run(drawn, frames, audio):
        features = model.apply(drawn, frames, audio, method="embed")
        return features, contrastive_logits(**features), model.apply(drawn, frames, audio)

    features, contrastive, logits = run(drawn, *_inputs(shared, recorded, seed))
    similarity = np.einsum("bhwc,bc->bhw", features["image"], features["audio"])
    assert golden.channels_first(features["image"]).shape == tuple(recorded["img_feat_shape"])
    _assert_close(similarity, recorded["A"][:, 0])
    _assert_close(jax.nn.sigmoid((similarity - POSITIVE) / SOFTNESS), recorded["pos"][:, 0])
    _assert_close(1 - jax.nn.sigmoid((similarity - NEGATIVE) / SOFTNESS), recorded["neg"][:, 0])
    _assert_close(contrastive, recorded["logits"])
    # Class 1's probability is the positive mask's value at the most similar position.
    np.testing.assert_allclose(
        jax.nn.softmax(logits)[:, 1], jax.nn.sigmoid((recorded["max_similarity"] - POSITIVE) / SOFTNESS), rtol=5e-3
    )


def test_hardway_front_end_equals_the_official_one(shared):
    with np.load(shared / "parity/avc/golden_frontend_hardway.npz") as recorded:
        classifier = classifiers.create("avenet_hardway")
        assert classifier.inputs.sample_rate == recorded["sample_rate"]
        spectrogram = jax.jit(classifier.front_end)(recorded["wave"].astype(np.float32)[None])[0]
        _assert_mostly_close(spectrogram, recorded["model_input"])


# ---------------------------------------------------------------- OpenL3


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", FRONT_ENDS)
def test_openl3_front_end_equals_the_official_one(shared, name, seed):
    recorded = golden.load(shared, "avc/frontend_openl3", seed)
    classifier = classifiers.create("l3net", audio_encoder=name)
    assert classifier.inputs.sample_rate == recorded["sample_rate"]
    spectrogram = jax.jit(classifier.front_end)(recorded["wave"][None])[0]
    _assert_mostly_close(spectrogram, recorded[name.removeprefix("openl3_")])


def _assert_mostly_close(x: np.ndarray, recorded: np.ndarray) -> None:
    """In float32 a bin far below the loudest of its window is rounding noise, there as here."""
    error = np.abs(np.asarray(x) - recorded)
    limit = 1e-4 * np.sqrt(np.mean(np.square(recorded)))
    assert np.mean(error < limit) > 0.999
    assert error.max() < 100 * limit


def test_openl3_encoder_equals_its_layers_one_by_one(shared):
    """A recording of the network is not at hand; the layers are those that the published keys name."""
    state = golden.state_dict(shared, "avc/openl3_audio", 0)
    imported = to_variables("openl3_audio", state)
    x = normal(0, 1, 18, 20, 1)
    taps = fast_jit(OpenL3Audio().apply)({kind: tree["acn"] for kind, tree in imported.items()}, x)

    def norm(x, number):
        weight, bias, mean, var = (
            state[f"batch_normalization_{number}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(var + 1e-3) * weight + bias

    y = norm(np.asarray(x), 1)
    for number in range(1, 9):
        key = f"conv2d_{number}" if number < 8 else "audio_embedding_layer"
        kernel = state[f"{key}.weight"].transpose(2, 3, 1, 0)
        y = jax.lax.conv_general_dilated(y, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        y = np.asarray(y) + state[f"{key}.bias"]
        if number < 8:
            y = np.maximum(norm(y, number + 1), 0)
        if number in (2, 4, 6):
            b, h, w, c = y.shape
            y = y[:, : h // 2 * 2, : w // 2 * 2].reshape(b, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))
    _assert_close(taps["block4"], y)
    _assert_close(taps["embedding"], y.max(axis=(1, 2)))


def test_l3net_takes_openl3s_encoder(shared):
    classifier = classifiers.create("l3net", audio_encoder="openl3_mel128", **SMALL)
    frames, audio = normal(0, 2, 1, 32, 32, 3), classifier.front_end(0.1 * normal(1, 2, 4000))
    assert audio.shape == (2, 128, 17)
    drawn = variables(shapes(classifier, frames, audio))
    assert np.isfinite(fast_jit(classifier.apply)(drawn, frames, audio)).all()
    published = traverse_util.flatten_dict(
        to_variables("openl3_audio", golden.state_dict(shared, "avc/openl3_audio", 0))
    )
    ours = traverse_util.flatten_dict(shapes(classifiers.create("l3net", audio_encoder="openl3_mel128"), frames, audio))
    assert all(ours[path].shape == leaf.shape for path, leaf in published.items())
    with pytest.raises(InputError, match="unknown audio_encoder 'vggish': choose one of l3net, openl3_linear, openl3_"):
        classifiers.create("l3net", audio_encoder="vggish").front_end(jnp.zeros((1, 48000)))
