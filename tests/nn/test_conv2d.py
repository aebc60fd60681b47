"""The convolution in groups against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import fast_jit, forward_jit, normal
from jax import lax

from avsd_jax.nn.conv2d import conv2d

# Input [B, H, W, C], output channels, groups, stride: groups that are joined to one, to several, and not at all.
CASES = {
    "one channel a group": ((2, 6, 7, 32), 32, 32, 1),
    "joined to two, or to four": ((2, 5, 6, 128), 128, 32, 2),
    "other output channels": ((1, 4, 5, 96), 48, 24, 1),
    "too large to join": ((1, 4, 5, 160), 160, 2, 1),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_groups_in_value_and_gradient(case):
    shape, features, groups, stride = case
    x, kernel = normal(0, *shape), normal(1, 3, 3, shape[-1] // groups, features)

    def plain(x, kernel):
        return lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            [(1, 1), (1, 1)],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    def run(function):
        def loss(x, kernel):
            y = function(x, kernel)
            return jnp.sum(y * jnp.cos(jnp.arange(y.size, dtype=y.dtype).reshape(y.shape))), y

        return fast_jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(x, kernel)

    (_, y), gradients = run(lambda x, kernel: conv2d(x, kernel, stride, groups))
    (_, expected), expected_gradients = run(plain)
    inference = forward_jit(lambda x, kernel: conv2d(x, kernel, stride, groups))(x, kernel)  # merges fewer groups
    pairs = ((y, expected), (inference, expected), *zip(gradients, expected_gradients, strict=True))
    for a, b in pairs:
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=5e-6 * np.abs(b).max())
