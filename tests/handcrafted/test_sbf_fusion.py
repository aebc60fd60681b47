import numpy as np
import pytest

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.image import glad, sbf_fusion
from avsd_jax.handcrafted.image.superpixels import felzenszwalb


def test_glad_finds_classes_and_who_is_able() -> None:
    rng = np.random.default_rng(0)
    true, ability = rng.random(120) < 0.5, np.array([2, 1, 0.4, -1.5])
    easiness = np.exp(rng.normal(0.5, 0.5, 120))
    right = rng.random((120, 4)) < 1 / (1 + np.exp(-ability * easiness[:, None]))
    labels = np.where(right, true[:, None], ~true[:, None]).astype(float)
    found = glad.estimate(labels, np.full(120, 0.5), tolerance=1e-5)
    assert (np.diff(found.ability) < 0).all()
    assert found.ability[3] < 0
    assert np.mean((found.posterior > 0.5) == true) >= np.mean(right[:, 0])  # of the best one
    assert np.corrcoef(found.log_easiness, np.log(easiness))[0, 1] > 0.2


def test_superpixels_are_the_even_areas() -> None:
    image = np.full((24, 30, 3), 200, np.uint8)
    image[:, 15:] = 20
    image[2:8, 2:4] = 0, 255, 0  # too small to stay alone
    assert felzenszwalb(image).max() == 1
    many = felzenszwalb(image, smallest=1)
    assert many[4, 2] not in (many[20, 2], many[20, 20])
    assert felzenszwalb(np.zeros((1, 1, 3), np.uint8)).tolist() == [[0]]


def _dataset() -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Images of a disc, of different sizes; two labelers see it, the better the earlier, and one sees noise."""
    rng = np.random.default_rng(0)
    images, maps, truths = [], [], []
    for i in range(12):
        height, width = 36 + i, 50 - i
        y, x = np.mgrid[:height, :width]
        truth = ((y - height / 2) ** 2 + (x - width / 2) ** 2 < 100).astype(float)
        noise = rng.random((3, height, width))
        share = np.array([0.1, 0.25, 0.95])[:, None, None] * (0.4 + i / 20)
        images.append(np.where(truth[..., None] > 0, (200, 40, 40), (40, 60, 160)).astype(np.uint8))
        maps.append((1 - share) * truth + share * noise)
        truths.append(truth)
    return images, maps, truths


def test_the_easiest_images_are_supervised_by_the_better_labelers() -> None:
    images, maps, truths = _dataset()
    found = sbf_fusion.supervise(images, maps, sbf_fusion.ROUNDS[0])
    assert len(found.kept) == 4  # 0.35 of 12
    for i, target, weight in zip(found.kept, found.targets, found.weights, strict=True):
        assert target.shape == weight.shape == truths[i].shape
        assert (target.min(), target.max()) == (0, 1)
        errors = [np.abs(x - truths[i]).mean() for x in (target, *maps[i])]
        assert errors[0] < np.mean(errors[1:])
    assert min(w.min() for w in found.weights) == pytest.approx(0.01)
    assert max(w.max() for w in found.weights) == pytest.approx(1.01)


def test_late_rounds_have_binary_targets() -> None:
    images, maps, truths = _dataset()
    found = sbf_fusion.supervise(images[:3], maps[:3], sbf_fusion.ROUNDS[4])
    for i, target in zip(found.kept, found.targets, strict=True):
        np.testing.assert_array_equal(target, truths[i])


def test_maps_are_weighted_by_ability() -> None:
    maps = np.stack([np.full((2, 2), value) for value in (0.0, 0.5, 1.0)])
    np.testing.assert_allclose(sbf_fusion.combine(maps, np.array([-3.0, 1.0, 3.0])), 0.875)
    np.testing.assert_allclose(sbf_fusion.combine(maps, np.array([-1.0, -1.0, -2.0])), 0.4)


def test_black_maps_and_misfits() -> None:
    images, maps, _ = _dataset()
    black = sbf_fusion.supervise(images[:2], [np.zeros_like(x) for x in maps[:2]], sbf_fusion.ROUNDS[2])
    assert all(np.isfinite(x).all() for x in (*black.targets, *black.weights))
    with pytest.raises(InputError, match="image 1"):
        sbf_fusion.supervise(images[:2], [maps[0], maps[0]])
