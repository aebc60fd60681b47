"""Grad-CAM++: the recorded maps of both rules, and the model on classifiers of ours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import fast_jit, flat_shapes, forward_jit, normal, shapes, variables
from tiny_run import add_extra_models

from avsd_jax import models
from avsd_jax.errors import InputError
from avsd_jax.nn import grad_cam
from avsd_jax.nn.resize import resize_bilinear

TINY = {"width": 1 / 32, "depths": (1, 1, 1)}


@fast_jit
def _both_rules(activations, gradients):
    rules = ("official", "jacobgil")
    weights = {rule: grad_cam.channel_weights(activations, gradients, rule) for rule in rules}
    return weights, {rule: grad_cam.class_map(activations, gradients, rule) for rule in rules}


@pytest.mark.parametrize("case", "012")
def test_weights_and_maps_equal_the_recorded_ones(shared, case):
    with np.load(shared / "parity/baselines/golden_gradcampp.npz") as archive, jax.enable_x64(True):
        recorded = {key.partition("/")[2]: archive[key] for key in archive if key.startswith(f"{case}/")}
        activations, gradients = (jnp.asarray(np.moveaxis(recorded[key], 0, -1)) for key in ("activations", "grads"))
        weights, maps = _both_rules(activations, gradients)
        # The authors' factor exp(score).
        np.testing.assert_allclose(np.exp(1.7) * weights["official"], recorded["official_weights_score1p7"], rtol=1e-12)
        np.testing.assert_allclose(weights["jacobgil"], recorded["pytorch_weights"], rtol=1e-12)
        np.testing.assert_allclose(maps["jacobgil"], recorded["pytorch_cam"], rtol=0, atol=1e-12)
        unit = grad_cam.normalised(maps["official"])
        np.testing.assert_allclose(unit, recorded["official_cam_maxnorm"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", ["official", "jacobgil"])
def test_features_and_gradients_of_zero_give_finite_maps(rule):
    some = normal(0, 2, 4, 5, 3)
    mapped = fast_jit(lambda a, g: grad_cam.normalised(grad_cam.class_map(a, g, rule), rule))
    for activations, gradients in ((0 * some, some), (some, 0 * some), (some, 1e-25 * some), (1e4 * some, -abs(some))):
        unit = mapped(activations, gradients)
        assert unit.shape == (2, 4, 5)
        assert np.isfinite(unit).all()
        assert unit.min() >= 0
        assert unit.max() <= 1 + 1e-6


def test_the_map_is_that_of_the_gradient_of_the_chosen_tags_score():
    """A mean and a linear layer: the gradient is the layer's kernel over the number of locations."""
    add_extra_models()
    batch = {"video": normal(0, 2, 1, 64, 96, 3)}
    plain = models.create("tiny_tags")
    given = variables(shapes(plain, batch))
    model = models.create("gradcam_pp", network="tiny_tags", num_tags=6)
    assert flat_shapes(shapes(model, batch)) == flat_shapes(given)
    expected = forward_jit(plain.apply)(given, batch)
    feature, kernel = expected["features"], given["params"]["fc"]["kernel"]
    for chosen in (None, 4):
        out = fast_jit(model.clone(tag=chosen).apply)(given, batch)
        np.testing.assert_allclose(out["tag_scores"], expected["tag_logits"], rtol=1e-4, atol=1e-5)
        tags = expected["tag_logits"].argmax(-1) if chosen is None else np.full(2, chosen)
        np.testing.assert_array_equal(out["tag"], tags)
        slope = kernel.T[tags][:, None, None] / (feature.shape[1] * feature.shape[2])
        raw = grad_cam.class_map(feature, jnp.broadcast_to(slope, feature.shape))
        full = resize_bilinear(grad_cam.normalised(raw)[..., None], (64, 96))[..., 0]
        np.testing.assert_allclose(out["saliency"], full, rtol=0, atol=1e-4)
        assert np.ptp(out["saliency"]) > 0.5


@pytest.mark.parametrize(
    ("network", "options", "frames"),
    [("scam_st", TINY, 3), ("vinet", {"width": 1 / 32, "clip_size": 8}, 8)],
)
def test_clips_of_several_frames_have_one_map(network, options, frames):
    model = models.create("gradcam_pp", network=network, network_options=options, num_tags=6, rule="jacobgil")
    assert (model.clip_size, model.uses_audio) == (frames, False)
    batch = {"video": jax.ShapeDtypeStruct((2, frames, 64, 64, 3), jnp.float32)}
    drawn = shapes(model, batch)
    out = jax.eval_shape(model.apply, drawn, batch)
    assert out["saliency"].shape == out["logits"].shape == (2, 64, 64)
    trained, _ = jax.eval_shape(
        lambda variables, batch: model.apply(variables, batch, train=True, mutable=["batch_stats"]), drawn, batch
    )
    assert "tag_logits" in trained
    assert "saliency" not in trained  # no loss of maps applies


def test_what_does_not_fit_is_named():
    batch = {"video": jax.ShapeDtypeStruct((1, 1, 32, 32, 3), jnp.float32)}
    for options, message in (
        ({"rule": "cam"}, "unknown rule of Grad-CAM.. 'cam': choose one of official, jacobgil"),
        ({"tag": 28}, "tag=28 of 28 tags: give 0 to 27"),
        ({"network": "gradcam_pp"}, "is this model itself"),
        ({"network": "resnext101"}, "has no option 'num_tags'"),
        ({"network": "vggsound"}, "batch has no 'audio'"),
    ):
        with pytest.raises(InputError, match=message):
            shapes(models.create("gradcam_pp", **options), batch)
