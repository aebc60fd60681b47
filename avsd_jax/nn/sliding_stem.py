"""The stem of a 3-D ResNet on sliding windows: what each tap in time makes of a frame is computed once."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.conv3d import Lowering, conv3d
from avsd_jax.nn.norm import affine
from avsd_jax.nn.sliding import Layer

Weights = Mapping[str, Any]

_SIZE, _EPSILON = 7, 1e-5


def folded(variables: Mapping[str, Any]) -> Weights:
    """Returns the stem's weights from the variables of `avsd_jax.nn.resnet3d.ResNet3D`, the norm folded in."""
    scale, shift = affine(variables["params"]["bn1"], variables["batch_stats"]["bn1"], _EPSILON)
    kernel = variables["params"]["conv1"]["kernel"] * scale
    # The taps become output channels of one convolution in space.
    kernel = jnp.moveaxis(kernel, 0, 3).reshape(1, *kernel.shape[1:4], -1)
    return {"kernel": kernel, "shift": shift}


def layer(lowering: Lowering) -> Layer:
    """Returns the stem, whose output is the tap `stem` [B, T, H/2, W/2, C]."""

    def space(weights: Weights, x: Float[Array, "b t h w 3"]) -> Float[Array, "b t h2 w2 c"]:
        half = _SIZE // 2
        return conv3d(x, weights["kernel"].astype(x.dtype), (1, 2, 2), (0, half, half), lowering)

    def time(
        weights: Weights, x: Float[Array, "b t h w c"], stride: int, taps: slice = slice(0, _SIZE)
    ) -> Float[Array, "b t2 h w o"]:
        products = jnp.split(x, _SIZE, axis=-1)[taps]
        last = x.shape[1] - len(products)
        terms = [product[:, k : k + last + 1 : stride] for k, product in enumerate(products)]
        return nn.relu(sum(terms[1:], terms[0]) + weights["shift"].astype(x.dtype))

    return Layer("stem", _SIZE, 1, _SIZE // 2, space, time, is_tap=True, cut=time)
