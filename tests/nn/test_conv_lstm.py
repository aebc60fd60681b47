"""The ConvLSTMs of ACLNet and DeepVS against cells written down in NumPy."""

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from avsd_jax.nn.conv_lstm import ConvLSTM2D, TwoCellLSTM, _forget_one
from avsd_jax.nn.resize import resize_corner

X = np.random.default_rng(0).standard_normal((2, 5, 4, 6, 3)).astype(np.float32)
F = 4


def conv(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The cross-correlation of [h, w, i] with [3, 3, i, o], zeros around it."""
    planes = [
        sum(signal.correlate2d(x[..., i], kernel[..., i, o], "same") for i in range(kernel.shape[2]))
        for o in range(kernel.shape[3])
    ]
    return np.stack(planes, axis=-1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def keras(p: dict, x: np.ndarray) -> np.ndarray:
    c = h = np.zeros((*x.shape[1:3], F))
    outputs = []
    for frame in x:
        z = conv(frame, p["kernel"]) + conv(h, p["recurrent_kernel"]) + p["bias"]
        i, f, new, o = (z[..., k * F : (k + 1) * F] for k in range(4))
        hard = lambda v: np.clip(0.2 * v + 0.5, 0, 1)  # noqa: E731
        c = hard(f) * c + hard(i) * np.tanh(new)
        h = hard(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs)


def two_cell(p: dict, x: np.ndarray, scale: float) -> np.ndarray:
    c = h = np.zeros((*x.shape[1:3], F))
    outputs = []
    for frame in x:
        i, new, f, o = (
            scale * (conv(frame, p[f"i{k}"]["kernel"]) + p[f"i{k}"]["bias"]) + scale * conv(h, p[f"h{k}"]["kernel"])
            for k in range(1, 5)
        )
        c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(new)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs)


@pytest.mark.parametrize(
    ("layer", "cell"),
    [(ConvLSTM2D(F), keras), (TwoCellLSTM(F, scale=4.0), lambda p, x: two_cell(p, x, 4.0))],
    ids=["keras", "2c"],
)
def test_cells_are_those_of_the_papers(layer, cell):
    variables = drawn.variables(drawn.shapes(layer, X))
    run = drawn.forward_jit(layer.apply)
    whole, state = run(variables, X)
    expected = np.stack([cell(jax.tree.map(np.float64, variables["params"]), clip) for clip in X])
    np.testing.assert_allclose(whole, expected, atol=2e-5)
    np.testing.assert_allclose(state[1], expected[:, -1], atol=2e-5)


def test_the_forget_gate_starts_open():
    np.testing.assert_array_equal(_forget_one(jax.random.key(0), (4 * F,)), np.repeat([0, 1, 0, 0], F))


@pytest.mark.parametrize(
    "layer", [ConvLSTM2D(F, dropout=0.5), TwoCellLSTM(F, keep=0.5, samples=3)], ids=["keras", "2c"]
)
def test_masks_are_drawn_for_training_alone(layer):
    variables = drawn.variables(drawn.shapes(layer, X))
    run = drawn.fast_jit(lambda key: layer.apply(variables, jnp.asarray(X), None, True, rngs={"dropout": key})[0])
    first, again, other = (run(jax.random.key(k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_masks_are_means_of_many_draws():
    draw = lambda key: TwoCellLSTM(F).apply({}, jnp.ones((1, 40, 40)), method="_masks", rngs={"dropout": key})  # noqa: E731
    masks = np.stack(drawn.fast_jit(draw)(jax.random.key(0)))
    assert abs(masks.mean() - 0.75) < 0.01
    assert abs(masks.std() - np.sqrt(0.75 * 0.25 / 100)) < 0.005


def test_resize_of_tensorflow_1_reads_corners():
    x = jnp.arange(4.0).reshape(1, 1, 4, 1) * jnp.ones((1, 3, 1, 1))
    np.testing.assert_allclose(resize_corner(x, (6, 8))[0, 0, :, 0], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3])
    np.testing.assert_array_equal(resize_corner(x, (3, 2))[0, 0, :, 0], [0, 2])
