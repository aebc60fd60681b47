"""SoundNet against the official encoder's results, and its limits."""

import functools

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import flat_shapes, shapes

from avsd_jax import models
from avsd_jax.errors import InputError
from avsd_jax.nn.soundnet import MIN_SAMPLES, SoundNet
from avsd_jax.torch_import import to_variables

_TAPS = {
    "maxpool1": "conv1",
    "maxpool2": "conv2",
    "relu3": "conv3",
    "relu4": "conv4",
    "maxpool5": "conv5",
    "relu6": "conv6",
    "relu7": "conv7",
}


@functools.cache
def _apply():
    return jax.jit(models.create("soundnet8").apply)


@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_official_encoder(shared, seed):
    recorded = golden.load(shared, "vinet/soundnet", seed)
    variables = to_variables("soundnet8", golden.state_dict(shared, "vinet/soundnet", seed))
    audio = golden.drawn_input(shared, "audio", recorded["input_shape"], seed)[:, 0, :, 0]
    out = _apply()(variables, {"audio": audio})
    expected = recorded["output"][..., 0].transpose(0, 2, 1)
    np.testing.assert_allclose(out["audio_features"], expected, rtol=0, atol=2e-6 * expected.max())
    for recorded_name, name in _TAPS.items():
        golden.assert_tap(recorded, recorded_name, out[name])


@pytest.mark.parametrize("samples", [32000, 41344, 70561])
def test_any_length_equals_the_official_encoder(shared, samples):
    recorded = golden.load(shared, "vinet/soundnet", 0)
    variables = to_variables("soundnet8", golden.state_dict(shared, "vinet/soundnet", 0))
    audio = golden.drawn_input(shared, "audio", (1, 1, samples, 1), 0)[:, 0, :, 0]
    expected = recorded[f"output_len{samples}"][..., 0].transpose(0, 2, 1)
    features = _apply()(variables, {"audio": audio})["audio_features"]
    np.testing.assert_allclose(features, expected, rtol=0, atol=2e-6 * expected.max())


def test_shortest_input():
    encoder = SoundNet(width=0.1)
    out = jax.eval_shape(lambda x: encoder.init_with_output(jax.random.key(0), x)[0], jnp.zeros((2, MIN_SAMPLES)))
    assert out["conv7"].shape == (2, 1, 104)
    with pytest.raises(InputError, match=f"pad it to at least {MIN_SAMPLES}"):
        encoder.init(jax.random.key(0), jnp.zeros((2, MIN_SAMPLES - 1)))
    with pytest.raises(InputError, match="'audio'"):
        models.create("soundnet8").init(jax.random.key(0), {"sound": jnp.zeros((1, MIN_SAMPLES))})


def test_a_head_for_tags_leaves_the_encoders_names():
    audio = {"audio": jnp.zeros((2, MIN_SAMPLES))}
    tree = shapes(models.create("soundnet8", width=0.1), audio)["params"]
    model = models.create("soundnet8", width=0.1, num_tags=3)
    with_head = shapes(model, audio)["params"]
    assert set(with_head) - set(tree) == {"tag_head"}
    out = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), audio)[0])
    assert out["heard_logits"].shape == (2, 3)


def test_last_layer_can_be_given():
    audio = jnp.zeros((1, MIN_SAMPLES))
    tree = flat_shapes(shapes(SoundNet(width=0.25, features=68), audio)["params"])
    assert tree["conv6/kernel"] == (4, 64, 128)
    assert tree["conv7/kernel"] == (4, 128, 68)
