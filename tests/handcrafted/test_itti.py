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
    images = np.random.default_rng(0).random((2, 3, 5, 21, 3), np.float32)
    images[:, 1], images[0, 2], images[1, 2] = 0, 0.3, np.nan
    found = variant(images)
    assert found["saliency"].shape == (2, 3, 5, 21)
    assert not np.asarray(found["saliency"][:, 1:]).any()  # nothing stands out
    for leaf in jax.tree.leaves(found):
        assert np.isfinite(leaf).all()
        assert np.min(leaf) >= 0


def test_a_single_peak_is_promoted_over_many() -> None:
    one, many = np.zeros((2, 40, 40), np.float32)
    one[20, 20], many[4:36:4, 4:36:4] = 1, 1
    for promote in (itti.promote_peaks, itti.promote_blocks):
        assert np.max(forward_jit(promote)(one)) > 2 * np.max(forward_jit(promote)(many))
