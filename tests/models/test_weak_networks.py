"""The networks of WSS, SBF and MWS: their published structure, and their small parts against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import fast_jit, forward_jit, normal, shapes, variables
from scipy import optimize

from avsd_jax import models
from avsd_jax.errors import InputError
from avsd_jax.models.common.mws_layers import Pool
from avsd_jax.models.mws_captioner import LSTM
from avsd_jax.nn.pool import simplex_max
from avsd_jax.nn.recurrent_conv import response_norm

VGG16, DENSENET169 = 14_714_688, 12_484_480  # without their dense layers

# Parameters by the tables: norms have two a channel; kernels of 3x3 and 1x1.
SIZES = {
    "wss": (
        256,
        VGG16
        + 2 * (512 + 1 + 5 * 2)  # norms
        + 9 * (512 + 2 * 512 + 2 * 256)
        + 4  # biases of two scores
        + (16 * 2 + 16 * 4 + 64 * 4),
    ),
    "sbf": (
        224,
        VGG16
        + (14 * 14 * 512 + 1) * 784
        + 64 * (512 + 256 + 128 + 64 + 4)
        + 4 * (9 * 65 * 64 + 64 + 9 * 64 * 64 + 64 + 1),
    ),
    "mws": (256, DENSENET169 + 4 * (9 * 1664 + 1) + 256 + 1),
    "mws_classifier": (256, DENSENET169 + 1665 + (9 * 1664 + 1) * 512 + 512 + 513 * 200),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_published_sizes(name):
    side, number = SIZES[name]
    model = models.create(name)
    assert type(model).defaults["frame_size"] == (side, side)
    batch = {"video": jax.ShapeDtypeStruct((1, 1, side, side, 3), jnp.float32)}
    out, given = jax.eval_shape(model.init_with_output, jax.random.key(0), batch)
    assert out["saliency"].shape == out["logits"].shape == (1, side, side)
    assert sum(x.size for x in jax.tree.leaves(given["params"])) == number
    if name == "sbf":
        assert [out[f"logits_{level}"].shape[1] for level in ("global", 4, 3, 2)] == [28, 28, 56, 112]
    if name == "mws_classifier":
        assert out["grid_logits"].shape == (1, 16, 16)
        assert out["tag_logits"].shape == (1, 200)


@pytest.mark.parametrize(
    ("name", "options"),
    [("wss", {"width": 1 / 16}), ("mws", {"width": 1 / 16, "depths": (1, 1, 1, 1)})],
)
def test_images_of_other_sizes_have_maps_of_theirs(name, options):
    model = models.create(name, **options)
    batch = {"video": normal(0, 1, 1, 42, 51, 3)}
    out = forward_jit(model.apply)(variables(shapes(model, batch)), batch)
    assert out["saliency"].shape == (1, 42, 51)
    np.testing.assert_allclose(out["saliency"], 1 / (1 + np.exp(-np.float64(out["logits"]))), atol=1e-6)
    assert np.ptp(out["saliency"]) > 0


def test_images_that_do_not_fit_are_named():
    def taken(name, *shape, **options):
        return shapes(models.create(name, **options), {"video": jax.ShapeDtypeStruct(shape, jnp.float32)})

    tiny = {"width": 1 / 16}
    with pytest.raises(InputError, match="images are 40x48: resize them"):
        taken("sbf", 1, 1, 40, 48, 3, **tiny)
    for name in ("wss", "wss_classifier", "sbf"):
        with pytest.raises(InputError, match="video has 2 frames where this model maps single ones"):
            taken(name, 1, 2, 32, 32, 3, **tiny)
    with pytest.raises(InputError, match="images of 8x8 are too small"):
        taken("wss", 1, 1, 8, 8, 3, **tiny)
    with pytest.raises(InputError, match="images of 12x32 are too small: give 16 or more"):
        taken("mws_classifier", 1, 1, 12, 32, 3, depths=(1, 1, 1, 1), **tiny)
    with pytest.raises(InputError, match="unknown pool 'x': choose features or free"):
        taken("mws_captioner", 1, 1, 32, 32, 3, depths=(1, 1, 1, 1), pool="x", **tiny)


def test_response_normalisation_is_caffes():
    x = np.random.default_rng(0).standard_normal((2, 5, 9)) * 20
    expected = np.empty_like(x)
    for c in range(9):
        near = x[..., max(0, c - 3) : c + 4]
        expected[..., c] = x[..., c] / (1 + 0.001 / 7 * (near**2).sum(-1)) ** 0.75
    np.testing.assert_allclose(response_norm(jnp.float32(x)), expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.05, 1.0, 50.0])
def test_the_smooth_maximum_projects_on_the_simplex(smoothing):
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 2)) * 3 + 100
    values, slope = fast_jit(jax.value_and_grad(lambda x: simplex_max(x, smoothing).sum()))(jnp.float32(x))
    expected = 0.0
    for row in np.moveaxis(x, -1, 1).reshape(4, 12):
        root = optimize.brentq(lambda t, r=row: np.maximum(r / smoothing - t, 0).sum() - 1, -1e4, 1e4, xtol=1e-12)
        share = np.maximum(row / smoothing - root, 0)
        expected += share @ row - smoothing / 2 * share @ share
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    np.testing.assert_allclose(slope.sum((1, 2)), 1, atol=1e-4)
    highest = jnp.float32(x).max((1, 2)).sum()
    assert highest - 2 * smoothing - 1e-3 <= values <= highest + 1e-3


def test_the_pool_weighs_locations():
    x = normal(0, 2, 4, 4, 8)
    for weights, shape in (("features", (1, 1, 8, 1)), ("free", (4, 4, 1, 1))):
        kernel = 3 * normal(1, *shape)
        out = forward_jit(Pool(weights).apply)({"params": {"conv": {"kernel": kernel}}}, x)
        scores = np.asarray(
            x @ kernel[0, 0, :, 0] if weights == "features" else kernel[None, ..., 0, 0] + 0 * x[..., 0]
        )
        share = np.exp(scores) / np.exp(scores).sum((1, 2), keepdims=True)
        np.testing.assert_allclose(out, (np.asarray(x) * share[..., None]).sum((1, 2)), rtol=1e-4, atol=1e-5)


def test_the_recurrent_layer_is_pytorchs():
    rng, hidden = np.random.default_rng(2), 3
    given = {
        "weight_ih_l0": rng.standard_normal((12, 5)),
        "weight_hh_l0": rng.standard_normal((12, hidden)),
        "bias_ih_l0": rng.standard_normal(12),
        "bias_hh_l0": rng.standard_normal(12),
    }
    x = rng.standard_normal((2, 4, 5))
    out = forward_jit(LSTM(hidden).apply)({"params": jax.tree.map(jnp.float32, given)}, jnp.float32(x))
    h = c = np.zeros((2, hidden))
    for step in range(4):
        gates = x[:, step] @ given["weight_ih_l0"].T + given["bias_ih_l0"] + h @ given["weight_hh_l0"].T
        i, f, g, o = np.split(gates + given["bias_hh_l0"], 4, axis=1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        np.testing.assert_allclose(out[:, step], h, rtol=1e-4, atol=1e-5)
