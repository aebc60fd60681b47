"""The losses of weakly supervised networks against NumPy."""

import jax
import numpy as np
import pytest

from avsd_jax import losses
from avsd_jax.errors import InputError

RNG = np.random.default_rng(0)
DENSITY = np.zeros((2, 8, 8), np.float32)
DENSITY[0, 2:4, 4:8] = 0.8


def entropy(logits, target):
    p = 1 / (1 + np.exp(-np.float64(logits)))
    return -(target * np.log(p) + (1 - target) * np.log(1 - p))


def computed(name, output, batch):
    values, weights = jax.jit(lambda output, batch: losses.compute(output, batch, [name])[name])(output, batch)
    return np.asarray(values), np.asarray(weights)


def test_of_maps():
    logits = RNG.standard_normal((2, 8, 8)).astype(np.float32)
    output, batch = {"logits": logits, "saliency": 1 / (1 + np.exp(-logits))}, {"density": DENSITY}
    values, weights = computed("bce", output, batch)
    np.testing.assert_allclose(values, entropy(logits, DENSITY).mean((1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(weights, [1, 0])  # a map of zeros is no target
    values, _ = computed("bootstrap", output, batch)
    target = 0.8 * DENSITY + 0.2 * (logits > 0)
    np.testing.assert_allclose(values, entropy(logits, target).mean((1, 2)), rtol=1e-5)


def test_on_the_grid_of_features():
    grid = RNG.standard_normal((2, 4, 4)).astype(np.float32)
    values, weights = computed("area", {"grid_logits": grid}, {})
    np.testing.assert_allclose(values, entropy(grid, 0).mean((1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(weights, [1, 1])
    values, weights = computed("attention_transfer", {"grid_logits": grid}, {"density": DENSITY})
    target = np.zeros((2, 4, 4))
    target[0, 1, 2:] = 1  # 0.8 of a mean of 0.1; the antialiased neighbours stay below twice that
    np.testing.assert_allclose(values, entropy(grid, target).mean((1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(weights, [1, 0])


def test_sbf_sums_weighted_pixels_of_all_levels():
    sizes = {"logits_global": 1, "logits_4": 1, "logits_3": 2, "logits_2": 4, "logits": 8}
    output = {name: RNG.standard_normal((2, n, n)).astype(np.float32) for name, n in sizes.items()}
    output["saliency"] = output["logits"]
    share = RNG.uniform(size=(2, 8, 8)).astype(np.float32)
    for weights in (None, share):
        expected = 0.0
        for name, n in sizes.items():
            blocks = lambda x, n=n: x.reshape(2, n, 8 // n, n, 8 // n).mean((2, 4))  # noqa: E731
            of_level = entropy(output[name], blocks(DENSITY))
            expected += (of_level if weights is None else of_level * blocks(weights)).sum((1, 2))
        batch = {"density": DENSITY} | ({} if weights is None else {"pixel_weights": weights})
        np.testing.assert_allclose(computed("sbf_bce", output, batch)[0], expected, rtol=1e-5)
    with pytest.raises(InputError, match="no logits_global, which the loss 'sbf_bce' needs"):
        losses.compute({"saliency": output["logits"], "logits": output["logits"]}, {"density": DENSITY}, ["sbf_bce"])


def test_captions_count_by_their_words():
    logits = RNG.standard_normal((3, 3, 5)).astype(np.float32)
    captions = np.array([[0, 4, 1], [2, -1, -1], [-1, -1, -1]], np.int32)
    values, weights = computed("captions", {"word_logits": logits}, {"captions": captions})
    odds = np.log(np.exp(np.float64(logits)).sum(-1))
    each = [[odds[b, n] - logits[b, n, w] for n, w in enumerate(row) if w >= 0] for b, row in enumerate(captions)]
    np.testing.assert_array_equal(weights, [3, 1, 0])
    np.testing.assert_allclose(values, [np.mean(row) if row else 0 for row in each], rtol=1e-5)
