import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pictures
import pytest
from drawn import forward_jit

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.image import features, gabor, gbvs, graph, maps, pyramid

CHANNELS = {"dkl": "dklcolor", "intensity": "intensity", "orientation": "orientation"}
fast_gbvs = forward_jit(gbvs.gbvs)


@pytest.mark.parametrize("name", pictures.NAMES)
def test_maps_are_those_of_the_toolbox(shared: pathlib.Path, name: str) -> None:
    recorded = pictures.golden(shared, "gbvs_itti")
    found = fast_gbvs(recorded[f"{name}/image"])
    # An evenly coloured drawing leaves rounding alone to walk on.
    limit = 2e-6 if name != "popout" else 3e-5
    np.testing.assert_allclose(found["master"], recorded[f"{name}/gbvs"], atol=limit)
    np.testing.assert_allclose(found["saliency"], recorded[f"{name}/gbvs_full"], atol=limit)
    for channel, key in CHANNELS.items():
        np.testing.assert_allclose(found["channels"][channel], recorded[f"{name}/gbvs_ch_{key}"], atol=2 * limit)


def test_features_are_those_of_the_toolbox(shared: pathlib.Path) -> None:
    recorded = pictures.golden(shared, "gbvs_itti")
    bank = gabor.toolbox_bank((0, 45, 90, 135))
    for i, phase in np.ndindex(4, 2):
        key = f"popout_intermediate/gabor_{i + 1}_g{90 * phase}"
        # Which way the odd one counts makes no difference to an energy.
        alike = np.abs(np.sum(bank[i, phase] * recorded[key]))
        assert alike == pytest.approx(1, abs=1e-12)
        np.testing.assert_allclose(np.abs(bank[i, phase]), np.abs(recorded[key]), atol=1e-12)
    image = maps.flat_batch(recorded["popout/image"])
    raw = forward_jit(lambda x: gbvs.raw_features(x, gbvs.Options()))(image)
    for letter, name in gbvs.NAMES.items():
        for level, of_level in zip((2, 3, 4), raw.get(letter, ()), strict=False):
            for i, found in enumerate(of_level[0]):
                key = f"popout_intermediate/raw_{CHANNELS[name]}_{i + 1}_L{level}"
                np.testing.assert_allclose(found, recorded[key], atol=1e-6)


def test_a_batch_is_its_images_and_bytes_are_fractions() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 2, 37, 53, 3), np.uint8)
    function = forward_jit(lambda x: gbvs.gbvs(x, gbvs.FAST))
    together, alone = function(images), function(images[1:, 1:].astype(np.float32) / 255)
    for one, several in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
        assert several.dtype == jnp.float32
        np.testing.assert_allclose(several[1, 1], one[0, 0], atol=1e-5)


def test_any_image_has_a_finite_map() -> None:
    every = gbvs.Options(cues="CDFIMOR", levels=(0, 3), map_size=12, normalisation=2, centre_bias=0.5)
    images = np.stack([np.full((1, 75, 3), value, np.float32) for value in (0, 0.3, 1, np.nan)])
    images = np.concatenate([images, np.random.default_rng(0).random((1, 1, 75, 3), np.float32)])
    found = forward_jit(lambda now, before: gbvs.gbvs(now, every, before))(images, images[::-1])
    assert found["saliency"].shape == (5, 1, 75)
    for leaf in jax.tree.leaves(found):
        assert np.isfinite(leaf).all()
        assert np.min(leaf) >= 0
        assert np.max(leaf) <= 1


def test_what_moves_is_found_by_flicker_and_motion() -> None:
    before = np.full((40, 60, 3), 0.3, np.float32)
    after = before.copy()
    before[8:16, 40:48], after[8:16, 41:49] = 0.9, 0.9
    before[28:36, 8:16] = after[28:36, 8:16] = 0.9  # stays
    options = gbvs.Options(cues="FM", levels=(0,), map_size=30)
    found = forward_jit(lambda a, b: gbvs.gbvs(a, options, b))(after, before)
    for of_channel in found["channels"].values():
        row, column = np.unravel_index(np.argmax(of_channel), of_channel.shape)
        assert 3 <= row <= 9
        assert 18 <= column <= 26


def test_motion_is_reichardts_correlation() -> None:
    now, before = np.random.default_rng(0).random((2, 4, 6, 7), np.float32)
    found = forward_jit(lambda a, b: features.motion(a, b, (0, 90)))(now, before)
    light, earlier = now[3], before[3]
    right = light[:, 1:] * earlier[:, :-1] - earlier[:, 1:] * light[:, :-1]
    up = light[:-1] * earlier[1:] - earlier[:-1] * light[1:]
    np.testing.assert_allclose(found[0, :, 1:], np.abs(right), atol=1e-6)
    np.testing.assert_allclose(found[1, :-1], np.abs(up), atol=1e-6)


def test_contrast_is_the_variance_of_a_window() -> None:
    level = np.random.default_rng(0).random((4, 9, 30), np.float32)
    found = forward_jit(lambda x: features.contrast(x, 0.1))(level)
    assert found[0, 4, 10] == pytest.approx(level[3, 3:6, 9:12].var(), abs=1e-6)


def test_walks_end_in_the_equilibrium() -> None:
    """That of a chain with symmetric weights is in proportion to what leaves each pixel."""
    image = np.random.default_rng(0).random((2, 5, 6)).astype(np.float32)
    walk = forward_jit(lambda x: graph.dissimilarity(x, 1.5, 1e-7))
    found = walk(image)
    rows, columns = (side.ravel() for side in np.mgrid[:5, :6])
    near = np.exp(-((rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2) / (2 * 1.5**2))
    for values, of_map in zip(image.reshape(2, -1), np.asarray(found).reshape(2, -1), strict=True):
        leaving = (np.abs(values[:, None] - values) * near).sum(0)
        np.testing.assert_allclose(of_map, leaving / leaving.sum(), atol=1e-6)
    np.testing.assert_allclose(walk(np.ones_like(image)), 1 / 30, rtol=1e-6)


def test_halving_keeps_even_areas_to_the_last_bit() -> None:
    values = (np.arange(256) / 255).astype(np.float32)
    # Compiled as in use: the compiler joins products and sums.
    halved = jax.jit(pyramid.halve)(np.broadcast_to(values[:, None, None], (256, 12, 23)))
    assert halved.shape == (256, 6, 11)
    for position in ((0, 0), (2, 5), (5, 10)):
        np.testing.assert_array_equal(halved[:, *position], values)
    assert pyramid.halve(jnp.ones((10, 40))).shape == (10, 40)


def test_unknown_options_are_named() -> None:
    with pytest.raises(InputError, match="cues='DX'"):
        gbvs.Options(cues="DX")
    with pytest.raises(InputError, match="normalisation=3"):
        gbvs.Options(normalisation=3)
