"""Gradients of convolutions by rules of our own are JAX's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import step_jit

from avsd_jax.nn import conv3d, conv_gradient


def winograd(x, kernel, strides, padding):
    return conv_gradient.same_conv(
        partial(conv3d._winograd, 2, 1), partial(conv_gradient._plain, strides, padding), x, kernel
    )


# A convolution, and strides, padding, shapes of input and kernel.
CASES = {
    "stem": (conv_gradient.conv2d, (2, 1), (3, 0), (1, 8, 3, 2), (7, 1, 2, 3)),
    "rows that are not read": (conv_gradient.conv2d, (2, 1), (1, 0), (2, 5, 3, 2), (3, 1, 2, 3)),
    "shorter than its stride": (conv_gradient.conv2d, (3, 1), (0, 0), (1, 8, 4, 2), (2, 1, 2, 3)),
    "taps": (
        lambda x, k, strides, padding: conv_gradient.conv_by_taps(x, k, padding),
        (1, 1),
        (1, 1),
        (2, 3, 4, 2),
        (2, 2, 2, 9),
    ),
    "Winograd": (winograd, (1, 1), (1, 1), (1, 3, 8, 2), (3, 3, 2, 3)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_value_and_gradients_are_those_of_the_definition(case):
    convolve, strides, padding, shape, kernel_shape = case
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, kernel = (jnp.asarray(rng.standard_normal(size)) for size in (shape, kernel_shape))

        def run(function):
            y, pull = jax.vjp(function, x, kernel)
            return y, *pull(jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

        plain = partial(conv_gradient._plain, strides, padding)
        given, expected = step_jit(lambda: (run(lambda x, k: convolve(x, k, strides, padding)), run(plain)))()
        for a, b in zip(given, expected, strict=True):
            assert a.dtype == jnp.float64
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max())
