"""Both lowerings of the convolution, and the layers around it, against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import fast_jit, normal
from flax import linen as nn
from jax import lax

from avsd_jax.nn import conv3d as conv3d_module
from avsd_jax.nn import winograd
from avsd_jax.nn.conv3d import Conv3D, conv3d
from avsd_jax.nn.norm import BatchNorm, conv_norm_relu
from avsd_jax.nn.pool import max_pool
from avsd_jax.nn.resize import upsample_2x

# Kernel, strides, padding, input [B, T, H, W, C] and output channels: each way of folding.
CASES = {
    "pointwise": ((1, 1, 1), (1, 1, 1), (0, 0, 0), (2, 3, 4, 5, 6), 7),
    "space": ((1, 3, 3), (1, 1, 1), (0, 1, 1), (2, 3, 4, 6, 5), 7),
    "space, stem": ((1, 7, 7), (1, 2, 2), (0, 3, 3), (2, 3, 8, 12, 3), 4),
    "space, Winograd in rows": ((1, 3, 3), (1, 1, 1), (0, 1, 1), (1, 8, 8, 18, 64), 64),
    "space, Winograd in columns": ((1, 3, 3), (1, 1, 1), (0, 1, 1), (1, 8, 18, 8, 64), 64),
    "space, Winograd in incomplete tiles": ((1, 3, 3), (1, 1, 1), (0, 1, 1), (1, 8, 11, 13, 64), 64),
    "time": ((3, 1, 1), (1, 1, 1), (1, 0, 0), (2, 5, 3, 4, 6), 7),
    "time, stem": ((7, 1, 1), (2, 1, 1), (3, 0, 0), (2, 8, 3, 4, 6), 7),
    "steps of 5": ((5, 3, 3), (5, 1, 1), (0, 1, 1), (2, 10, 4, 5, 6), 7),
    "steps of 2, pointwise": ((2, 1, 1), (2, 1, 1), (0, 0, 0), (2, 4, 3, 5, 6), 7),
    "steps that do not fit": ((2, 3, 3), (2, 1, 1), (0, 1, 1), (2, 5, 3, 5, 6), 7),
    "all three axes": ((3, 3, 3), (1, 2, 1), (1, 1, 1), (2, 4, 6, 5, 3), 4),
    "all three axes, strided": ((3, 5, 3), (2, 2, 2), (1, 2, 1), (2, 5, 6, 5, 3), 4),
    "pointwise, strided": ((1, 1, 1), (2, 2, 2), (0, 0, 0), (2, 5, 6, 5, 3), 4),
    "fewer places than outputs": ((3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 4, 4, 5, 3), 16),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_lowerings_agree_in_value_and_gradient(case):
    _compare(case, "auto", "direct")


@pytest.mark.slow
@pytest.mark.parametrize("lowering", ["folded", "winograd", "winograd2d"])
@pytest.mark.parametrize("case", ["all three axes, even", "all three axes, odd"])
def test_each_choice_agrees_where_it_differs(case, lowering):
    kernel, strides, padding = (3, 3, 3), (1, 1, 1), (1, 1, 1)
    size = (4, 8, 6) if case.endswith("even") else (3, 5, 7)
    _compare((kernel, strides, padding, (2, *size, 3), 4), lowering, "direct")


def test_few_places_are_one_matmul_at_inference():
    kernel_size, strides, padding, shape, features = CASES["fewer places than outputs"]
    x, kernel = normal(0, *shape), normal(1, *kernel_size, shape[-1], features)
    y, expected = (
        fast_jit(lambda x, kernel, lowering=lowering: conv3d(x, kernel, strides, padding, lowering))(x, kernel)
        for lowering in ("auto", "direct")
    )
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    lowered = jax.jit(conv3d, static_argnums=(2, 3)).lower(x, kernel, strides, padding).as_text()
    assert "convolution" not in lowered


def _compare(case, lowering, reference):
    kernel_size, strides, padding, shape, features = case
    x, kernel = normal(0, *shape), normal(1, *kernel_size, shape[-1], features)

    def run(lowering):
        def loss(x, kernel):
            y = conv3d(x, kernel, strides, padding, lowering)
            return jnp.sum(y * jnp.cos(jnp.arange(y.size, dtype=y.dtype).reshape(y.shape))), y

        return fast_jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(x, kernel)

    (_, y), gradients = run(lowering)
    (_, expected), expected_gradients = run(reference)
    for a, b in ((y, expected), *zip(gradients, expected_gradients, strict=True)):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize("tile", winograd.TRANSFORMS)
@pytest.mark.parametrize("axis", [1, 2])
def test_winograd_computes_the_definition(axis, tile):
    x, kernel = normal(0, 4, 7, 9, 3), normal(1, 3, 3, 3, 5)
    shape = [3 if a == axis - 1 else 1 for a in range(2)]
    kernel = kernel[: shape[0], : shape[1]]

    def pointwise(x, kernel):
        assert kernel.shape[:2] == (1, 1)
        return x @ kernel[0, 0]

    padding = [(k // 2, k // 2) for k in shape]
    expected = lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    for parts in (1, 2):
        y = winograd.convolve_same(x, kernel, axis, pointwise, tile, parts)
        np.testing.assert_allclose(y, expected, atol=1e-5)


def test_a_large_convolution_is_computed_in_parts(monkeypatch):
    monkeypatch.setattr(conv3d_module, "_LARGE", 1)
    monkeypatch.setattr(conv3d_module, "_PART", 2**16)
    _compare(CASES["space, Winograd in rows"], "auto", "direct")
    x, kernel = normal(0, *CASES["space, Winograd in rows"][3]), normal(1, 1, 3, 3, 64, 64)
    program = jax.jit(lambda x, k: conv3d(x, k, padding=(0, 1, 1))).lower(x, kernel).as_text()
    assert "while" in program


def test_half_precision_stays_half():
    layer = Conv3D(64, (1, 3, 3), padding=(0, 1, 1))
    x = normal(0, 1, 1, 32, 32, 64)
    variables = layer.init(jax.random.key(0), x)
    y, half = layer.apply(variables, x), layer.apply(variables, x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), y, atol=0.03 * np.abs(y).max())


# ---------------------------------------------------------------- max-pooling

WINDOWS = {
    "rows and columns": ((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    "same size": ((3, 3, 3), (1, 1, 1), (1, 1, 1)),
    "halved": ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    "rest dropped": ((2, 2, 2), (2, 2, 2), (0, 0, 0)),
    "places left out": ((1, 2, 1), (2, 2, 3), (0, 0, 0)),
}


@pytest.mark.parametrize("case", WINDOWS.values(), ids=WINDOWS.keys())
def test_pool_in_value_and_gradient(case):
    window, strides, padding = case
    # All values differ, so that there is one answer to where a gradient goes.
    values = np.random.default_rng(0).permutation(2 * 5 * 6 * 7 * 3).reshape(2, 5, 6, 7, 3)
    x = jnp.asarray(values, jnp.float32) - 500

    def whole_window(x):
        pads = [(0, 0), *((p, p) for p in padding), (0, 0)]
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, *window, 1), (1, *strides, 1), pads)

    def run(pool):
        y, pull = jax.vjp(pool, x)
        return y, pull(jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))[0]

    y, gradient = fast_jit(lambda: run(lambda x: max_pool(x, *case)))()
    expected, expected_gradient = run(whole_window)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5)


def test_pool_gives_the_gradient_to_the_first_of_equal_values():
    x = jnp.ones((1, 1, 1, 4, 1))
    gradient = jax.grad(lambda x: max_pool(x, (1, 1, 3), (1, 1, 1), (0, 0, 1)).sum())(x)
    assert gradient.ravel().tolist() == [2, 1, 1, 0]


# ---------------------------------------------------------------- upsampling


def test_upsampling_is_half_pixel_bilinear():
    x = normal(0, 2, 3, 4, 5, 2)
    expected = jax.image.resize(x, (2, 3, 8, 10, 2), "linear")
    np.testing.assert_allclose(upsample_2x(x), expected, atol=1e-6)


# ---------------------------------------------------------------- batch normalisation


@pytest.fixture
def norm():
    """Input, our norm, Flax's, and variables for both."""
    x = normal(0, 3, 2, 4, 5, 6) * 2 + 1
    ours, flax = BatchNorm(), nn.BatchNorm(momentum=0.999, epsilon=1e-3)
    shapes = jax.eval_shape(lambda: ours.init(jax.random.key(0), x, use_running_average=True))
    rng = np.random.default_rng(1)
    variables = jax.tree.map(lambda s: jnp.asarray(rng.uniform(0.5, 1.5, s.shape), jnp.float32), shapes)
    return x, ours, flax, variables


def test_norm_is_flaxs_in_inference(norm):
    x, ours, flax, variables = norm
    y, expected = (m.apply(variables, x, use_running_average=True) for m in (ours, flax))
    np.testing.assert_allclose(y, expected, atol=1e-6)
    scale, shift = ours.apply(variables, method=BatchNorm.affine)
    np.testing.assert_allclose(x * scale + shift, expected, atol=1e-6)


def test_norm_is_flaxs_in_training(norm):
    x, ours, flax, variables = norm

    def run(module):
        def loss(params, x):
            everything = {**variables, "params": params}
            y, updates = module.apply(everything, x, use_running_average=False, mutable=["batch_stats"])
            return jnp.sum(jnp.sin(y) * jnp.arange(y.size).reshape(y.shape) / y.size), (y, updates)

        return jax.grad(loss, (0, 1), has_aux=True)(variables["params"], x)

    for a, b in zip(jax.tree.leaves(run(ours)), jax.tree.leaves(run(flax)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-6 * max(1, np.abs(b).max()))


def test_norm_over_devices_is_norm_of_the_whole_batch(norm):
    x, _, _, variables = norm

    def grads(module, x):
        def loss(params, x):
            everything = {**variables, "params": params}
            y, updates = module.apply(everything, x, use_running_average=False, mutable=["batch_stats"])
            return jnp.sum(jnp.sin(y) * x), updates

        return jax.grad(loss, (0, 1), has_aux=True)(variables["params"], x)

    (params, dx), updates = grads(BatchNorm(), x)
    (split_params, split_dx), split_updates = jax.vmap(
        lambda x: grads(BatchNorm(axis_name="batch"), x), axis_name="batch"
    )(x[:, None])
    np.testing.assert_allclose(split_dx[:, 0], dx, atol=1e-5)
    for a, b in zip(jax.tree.leaves(split_params), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(a.sum(0), b, atol=1e-4)
    for a, b in zip(jax.tree.leaves(split_updates), jax.tree.leaves(updates), strict=True):
        np.testing.assert_allclose(a[0], b, atol=1e-6)


def test_norm_folded_into_the_convolution_is_the_norm(norm):
    x, _, _, variables = norm

    class Block(nn.Module):
        folded: bool

        @nn.compact
        def __call__(self, x):
            conv, norm = Conv3D(6, (1, 3, 3), padding=(0, 1, 1), name="conv"), BatchNorm(name="bn")
            if self.folded:
                return conv_norm_relu(conv, norm, x, train=False)
            return nn.relu(norm(conv(x), use_running_average=True))

    drawn = Block(False).init(jax.random.key(0), x)
    drawn = {name: {**drawn.get(name, {}), "bn": tree} for name, tree in variables.items()}
    y, expected = (Block(folded).apply(drawn, x) for folded in (True, False))
    np.testing.assert_allclose(y, expected, atol=1e-5)
