"""The models that are computed: no variables, and the maps of the functions that they name."""

import jax
import jax.numpy as jnp
import numpy as np
import pictures
import pytest
from drawn import forward_jit

from avsd_jax.config.base import base
from avsd_jax.errors import InputError
from avsd_jax.models import awsd, gbvs, itti

MODELS = {"gbvs": gbvs.Model(fast=True), "itti": itti.Model(), "itti_c": itti.Model(variant="c"), "awsd": awsd.Model()}


@pytest.mark.parametrize("name", MODELS)
def test_a_clip_has_a_map_without_any_weights(name: str) -> None:
    model, batch = MODELS[name], {"video": jnp.zeros((2, 2, 33, 50, 3))}
    assert not jax.eval_shape(lambda: model.init(jax.random.key(0), batch))
    found = jax.eval_shape(lambda: model.apply({}, batch))
    assert found["saliency"].shape == found["logits"].shape == (2, 33, 50)
    assert {x.dtype for x in found.values()} == {jnp.dtype("float32")}
    assert not model.learned
    assert model.any_size


@pytest.mark.parametrize("name", ["gbvs", "awsd"])
def test_the_odd_one_stands_out(name: str) -> None:
    image, where = pictures.odd_one_out()
    video = jnp.broadcast_to(jnp.asarray((255 * image).round(), jnp.uint8), (1, 2, *image.shape))
    found = forward_jit(lambda batch: MODELS[name].apply({}, batch))({"video": video})
    assert np.asarray(found["saliency"][0])[where].max() == np.max(found["saliency"]) > 0.9
    kept = np.clip(found["saliency"], 1e-4, 1 - 1e-4)
    np.testing.assert_allclose(jax.nn.sigmoid(found["logits"]), kept, atol=1e-5)


def test_configurations_scale_frames_to_unit_range() -> None:
    for name in ("gbvs", "itti", "awsd"):
        config = base(name)
        assert (config.preprocessing, config.frame_size) == ("unit", (360, 640))


def test_motion_needs_two_frames() -> None:
    with pytest.raises(InputError, match="clip_size=2"):
        gbvs.Model(cues="DM").apply({}, {"video": jnp.zeros((1, 1, 8, 8, 3))})
