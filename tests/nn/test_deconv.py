"""Transposed convolution equals the dilated one, and PyTorch's definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import normal
from jax import lax

from avsd_jax.nn.conv2d import Deconv2D, conv_transpose


@pytest.mark.parametrize(("size", "stride"), [(4, 2), (8, 4), (3, 1), (5, 2), (2, 3)])
def test_equals_the_convolution_of_the_dilated_input(size, stride):
    x, kernel = normal(0, 2, 3, 4, 3), normal(1, size, size, 3, 2)
    pad = (size - 1, size - 1)
    dilation, numbers = (stride, stride), ("NHWC", "HWIO", "NHWC")
    slow = lax.conv_general_dilated(x, kernel, (1, 1), (pad, pad), dilation, dimension_numbers=numbers)
    np.testing.assert_allclose(conv_transpose(x, kernel, stride), slow, atol=1e-5)


def test_every_position_adds_its_flipped_kernel():
    x = jnp.zeros((1, 2, 2, 2)).at[0, 1, 0].set(jnp.array([2.0, -1.0]))
    layer = Deconv2D(3, 4, 2, use_bias=False)
    variables = layer.init(jax.random.key(0), x)
    assert jax.tree.map(np.shape, variables) == {"params": {"kernel": (4, 4, 2, 3)}}
    stored = np.asarray(variables["params"]["kernel"])[::-1, ::-1]
    out = np.zeros((6, 6, 3), np.float32)
    out[2:6, 0:4] = np.einsum("i,hwio->hwo", x[0, 1, 0], stored)
    np.testing.assert_allclose(layer.apply(variables, x)[0], out, atol=1e-6)
