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
    model = MODELS[name]
    image, where = pictures.odd_one_out()
    video = jnp.broadcast_to(image, (2, 2, *image.shape))
    assert not jax.eval_shape(lambda: model.init(jax.random.key(0), {"video": video}))
    found = forward_jit(lambda batch: model.apply({}, batch))({"video": video})
    assert found["saliency"].shape == found["logits"].shape == (2, *image.shape[:2])
    row = np.asarray(found["saliency"][0])
    assert row[where].max() == row.max() > 0
    kept = np.clip(found["saliency"], 1e-4, 1 - 1e-4)
    np.testing.assert_allclose(jax.nn.sigmoid(found["logits"]), kept, atol=1e-5)
    assert not model.learned
    assert model.any_size


def test_configurations_scale_frames_to_unit_range() -> None:
    for name in ("gbvs", "itti", "awsd"):
        config = base(name)
        assert (config.preprocessing, config.frame_size) == ("unit", (360, 640))


def test_motion_needs_two_frames() -> None:
    with pytest.raises(InputError, match="clip_size=2"):
        gbvs.Model(cues="DM").apply({}, {"video": jnp.zeros((1, 1, 8, 8, 3))})
