"""ACLNet and DeepVS: the published tables of variables, the state between clips, and what each found quirk changes."""

import json
import pathlib

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avsd_jax import models
from avsd_jax.data.preprocessing import aclnet, deepvs
from avsd_jax.errors import InputError
from avsd_jax.models.deepvs import radial_mask

TINY = {"aclnet": {"clip_size": 4, "width": 0.05}, "deepvs": {"clip_size": 4, "gap": 1, "width": 0.02}}
SIZE = {"aclnet": (32, 64), "deepvs": (64, 128)}


def tiny(name: str, **options):
    return models.create(name, **(TINY[name] | options))


@pytest.fixture(scope="module")
def drawn_models() -> dict:
    """Each tiny model's variables and a clip."""
    made = {}
    for name, size in SIZE.items():
        video = drawn.normal(1, 2, TINY[name]["clip_size"], *size, 3) * (30 if name == "aclnet" else 0.3)
        made[name] = drawn.variables(drawn.shapes(tiny(name), {"video": video})), video
    return made


def outputs(drawn_models: dict, name: str, **options) -> dict:
    variables, video = drawn_models[name]
    return drawn.forward_jit(tiny(name, **options).apply)(variables, {"video": video})


@pytest.mark.parametrize(
    ("name", "number", "frames", "size", "maps"),
    [
        ("aclnet", 21_982_786, 5, (256, 320), {"saliency": (5, 128, 160), "attention": (5, 64, 80)}),
        ("deepvs", 83_728_768, 21, (448, 448), {"saliency": (16, 112, 112), "coarse": (16, 112, 112)}),
    ],
)
def test_variables_and_maps_are_those_of_the_tables(shared: pathlib.Path, name, number, frames, size, maps):
    model = models.create(name)
    batch = {"video": jax.ShapeDtypeStruct((1, frames, *size, 3), jnp.float32)}
    shapes = drawn.shapes(model, batch)
    table = json.loads((shared / f"parity/baselines/{name}_layers.json").read_text())
    assert sum(np.prod(shape) for shape in drawn.flat_shapes(shapes).values()) == number == table["n_parameters"]
    stored = table.get("weights") or table["checkpoint_variables"]
    # A transposed kernel is stored as (h, w, out, in).
    assert sorted(map(sorted, stored.values())) == sorted(sorted(s) for s in drawn.flat_shapes(shapes).values())
    assert (model.clip_size, model.num_maps) == (frames, maps["saliency"][0])
    output = jax.eval_shape(model.apply, shapes, batch)
    assert {key: output[key].shape[1:] for key in maps} == maps


def test_clips_of_aclnet_are_one_sequence(drawn_models):
    variables, video = drawn_models["aclnet"]
    run = drawn.forward_jit(tiny("aclnet").apply)
    whole = run(variables, {"video": video})
    first = run(variables, {"video": video[:, :2]})
    second = run(variables, {"video": video[:, 2:], "carry": first["carry"]})
    joined = np.concatenate([first["saliency"], second["saliency"]], axis=1)
    np.testing.assert_allclose(joined, whole["saliency"], atol=1e-5)
    # The state goes up to 4.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=5e-5), second["carry"], whole["carry"])
    # The state matters, and zeros are none.
    nothing = jax.tree.map(jnp.zeros_like, first["carry"])
    again = run(variables, {"video": video[:, :2], "carry": nothing})
    np.testing.assert_allclose(again["saliency"], first["saliency"], atol=1e-6)
    other = run(variables, {"video": video[:, 2:], "carry": nothing})
    assert np.abs(other["saliency"] - second["saliency"]).max() > 1e-3


def test_options_of_aclnet(drawn_models):
    plain, bilinear, deaf = (
        outputs(drawn_models, "aclnet", **options) for options in ({}, {"upsampling": "bilinear"}, {"attention": False})
    )
    blocks = plain["saliency"].reshape(2, 4, 4, 4, 8, 4)
    np.testing.assert_array_equal(blocks, blocks[:, :, :, :1, :, :1] + 0 * blocks)
    assert len(np.unique(plain["attention"][0, 0])) == 2  # 1 x 2 positions, each repeated
    assert np.abs(bilinear["saliency"] - plain["saliency"]).max() > 1e-4
    assert np.abs(deaf["saliency"] - plain["saliency"]).max() > 1e-4
    with pytest.raises(InputError, match="multiples of 32"):
        jax.eval_shape(tiny("aclnet").apply, drawn_models["aclnet"][0], {"video": jnp.zeros((1, 4, 48, 64, 3))})


@pytest.mark.slow
def test_options_of_deepvs(drawn_models):
    plain = outputs(drawn_models, "deepvs")
    low, high = plain["saliency"].min(axis=(-2, -1)), plain["saliency"].max(axis=(-2, -1))
    np.testing.assert_array_equal(low, 0)
    np.testing.assert_allclose(high, 1, atol=1e-4)
    frames = [{"half_pixel": True}, {"centred_mask": True}, {"channel_first": False}]
    for options in ({"demo_gate_scale": 1.0}, *frames):
        other = outputs(drawn_models, "deepvs", **options)
        assert np.abs(other["saliency"] - plain["saliency"]).max() > 1e-4, options
        assert (np.abs(other["coarse"] - plain["coarse"]).max() > 1e-4) == (options in frames), options
    # With the rows of the dense layer in the other order, the other option gives the same map.
    variables, video = drawn_models["deepvs"]
    kernel = variables["params"]["fc16"]["kernel"]
    moved = kernel.reshape(-1, 1, 2, kernel.shape[-1]).transpose(1, 2, 0, 3).reshape(kernel.shape)
    dense = variables["params"]["fc16"] | {"kernel": moved}
    last = drawn.forward_jit(tiny("deepvs", channel_first=False).apply)
    same = last(variables | {"params": variables["params"] | {"fc16": dense}}, {"video": video})
    np.testing.assert_allclose(same["saliency"], plain["saliency"], atol=1e-4)


def test_the_radial_mask_is_zero_at_one_corner():
    mask = radial_mask((28, 28))
    assert mask[0, 0] == 0 < mask[-1, -1]
    assert mask[14, 14] == 1
    np.testing.assert_allclose(radial_mask((28, 28), centred=True), radial_mask((28, 28), centred=True)[::-1, ::-1])


def test_frames_of_deepvs_and_aclnet():
    frame = np.random.default_rng(0).integers(0, 255, (36, 64, 3)).astype(np.uint8)
    np.testing.assert_allclose(
        deepvs.Preprocessing().normalise(np.array([[[0, 51, 255]]], np.uint8)), [[[-1, -0.6, 1]]]
    )
    rules = aclnet.Preprocessing()
    canvas = rules.resize_frame(frame, (256, 320))
    assert canvas.shape == (256, 320, 3)
    assert (canvas.any(axis=(1, 2)).nonzero()[0][[0, -1]] == [38, 217]).all()  # 180 rows in the middle
    red = np.array([[[200, 100, 50]]], np.uint8)
    np.testing.assert_allclose(rules.normalise(red), [[[50 - 123.68, 100 - 116.779, 200 - 103.939]]], rtol=1e-6)
    own = aclnet.Preprocessing(swapped_means=False).normalise(red)
    np.testing.assert_allclose(own, [[[50 - 103.939, 100 - 116.779, 200 - 123.68]]], rtol=1e-6)


@pytest.mark.parametrize("frame", [(36, 64), (64, 36), (64, 80), (1, 1), (5, 200)])
def test_targets_and_maps_of_aclnet_stay_with_the_frame(frame):
    """A point is put into the canvas, and found again where it was when the map is cut out of it."""
    rules, size = aclnet.Preprocessing(), (128, 160)
    y, x = frame[0] // 4, frame[1] // 4
    target = rules.fixation_map(np.array([[x, y]], np.float32), frame, size)
    assert target.sum() == 1
    density = np.zeros(frame, np.uint8)
    density[y, x] = 255
    resized = rules.resize_density(density, size)
    assert 0.1 < resized.max() <= 1
    part = rules.frame_part(target, frame)
    place = np.argwhere(part)[0]
    off = place + 0.5 - (np.array([y, x]) + 0.5) * part.shape / frame
    assert np.abs(off).max() <= 0.51  # pixels of the map
    smoothed = rules.smooth(target, (90, 160))
    assert smoothed.shape == (90, 160)
    assert rules.to_image(smoothed).max() in (254, 255)
    assert not rules.to_image(rules.smooth(0 * target, (90, 160))).any()
