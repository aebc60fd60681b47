import pathlib

import cv2
import jax
import numpy as np
import pictures
import pytest
from drawn import forward_jit
from slow import slow_except

from avsd_jax.handcrafted.image import gabor, itti, maps, pyramid

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


@pytest.mark.parametrize("name", slow_except(pictures.NAMES[:3], pictures.NAMES[:1]))
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


def test_blurs_are_cut_off_where_matlab_does() -> None:
    """Of an image of 600 pixels, whose map has 75: two standard deviations are 4.5 pixels."""
    assert np.count_nonzero(maps._blur_matrix(75, 0.03 * 75, 2.0)[37]) == 2 * 5 + 1


@pytest.mark.parametrize("size", [(2, 7), (33, 20)])
def test_its_filters_are_opencvs(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(size, np.float32)
    kernel = gabor.opencv_bank((45,))

    def ours(x: jax.Array) -> list[jax.Array]:
        enlarged = maps.resize_linear(x, (40, 47))
        return [pyramid.pyr_down(x), enlarged, maps.bilateral(x, 3, 0.3, 1.55), gabor.responses(x[None], kernel)[0, 0]]

    theirs = (
        cv2.pyrDown(image),
        cv2.resize(image, (47, 40), interpolation=cv2.INTER_LINEAR),
        cv2.bilateralFilter(image, 7, 0.3, 1.55),
        cv2.filter2D(image, cv2.CV_32F, kernel[0]),
    )
    for found, expected in zip(forward_jit(ours)(image), theirs, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)
