import pathlib

import jax
import numpy as np
import pictures
import pytest
from drawn import forward_jit

from avsd_jax.handcrafted.image import itti

CHANNELS = {"colour": "color", "intensity": "intensity", "orientation": "orientation"}
toolbox, opencv = forward_jit(itti.toolbox), forward_jit(itti.opencv)


@pytest.mark.parametrize("name", pictures.NAMES)
def test_maps_are_those_of_the_toolbox(shared: pathlib.Path, name: str) -> None:
    recorded = pictures.golden(shared, "gbvs_itti")
    found = toolbox(recorded[f"{name}/image"])
    np.testing.assert_allclose(found["master"], recorded[f"{name}/itti"], atol=5e-6)
    np.testing.assert_allclose(found["saliency"], recorded[f"{name}/itti_full"], atol=5e-6)
    for channel, key in CHANNELS.items():
        limit = 2e-5 if name == "popout" else 5e-6
        np.testing.assert_allclose(found["channels"][channel], recorded[f"{name}/itti_ch_{key}"], atol=limit)


@pytest.mark.parametrize("name", pictures.NAMES[:3])
def test_maps_are_those_of_pysaliencymap(shared: pathlib.Path, name: str) -> None:
    recorded = pictures.golden(shared, "pysaliencymap_opencv")
    found = opencv(recorded[f"{name}/image"])
    # Recorded with ten binary digits.
    np.testing.assert_allclose(found["saliency"], recorded[f"{name}/pysaliencymap"], atol=5e-4)
    if name == "cat":
        np.testing.assert_allclose(found["channels"]["intensity"], recorded["cat/psm_icm"], atol=3e-4)


@pytest.mark.parametrize("variant", [toolbox, opencv], ids=["toolbox", "opencv"])
def test_any_image_has_a_finite_map(variant) -> None:
    image, where = pictures.odd_one_out()
    images = np.stack([image, np.zeros_like(image), np.full_like(image, 0.3)])
    found = variant(images)
    assert np.asarray(found["saliency"][0])[where].max() == found["saliency"][0].max()
    assert not np.asarray(found["saliency"][1:]).any()  # nothing stands out
    tiny = variant(np.random.default_rng(0).integers(0, 256, (2, 2, 7, 3), np.uint8))
    assert tiny["saliency"].shape == (2, 2, 7)
    for leaf in jax.tree.leaves((found, tiny)):
        assert np.isfinite(leaf).all()
        assert leaf.min() >= 0


def test_a_single_peak_is_promoted_over_many() -> None:
    one, many = np.zeros((2, 40, 40), np.float32)
    one[20, 20], many[4:36:4, 4:36:4] = 1, 1
    for promote in (itti.promote_peaks, itti.promote_blocks):
        assert promote(jax.numpy.asarray(one)).max() > 2 * promote(jax.numpy.asarray(many)).max()
