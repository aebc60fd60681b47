"""S3D on sliding windows: its layers, each split into what it does to a slice and what over time.

The weights are those of `avsd_jax.nn.s3d.S3D`, every BatchNorm folded into the convolution before it, and the 1x1x1
convolutions that read the same input joined into one.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.conv3d import Lowering, Triple, conv3d
from avsd_jax.nn.norm import BatchNorm, affine
from avsd_jax.nn.pool import max_pool
from avsd_jax.nn.sliding import Join, Layer, Slices

Weights = Mapping[str, Any]


def folded(variables: Mapping[str, Any]) -> Weights:
    """Returns the weights of the layers below from the variables of S3D, {"params": ..., "batch_stats": ...}."""
    params, stats = variables["params"], variables["batch_stats"]
    return {name: _folded(params[name], stats[name]) for name in params}


def _folded(params: Mapping[str, Any], stats: Mapping[str, Any]) -> Weights:
    """Folds the norms of one block."""
    weights = {}
    for name, layer in params.items():
        if name.startswith("conv"):
            scale, shift = affine(*(tree[name.replace("conv", "bn")] for tree in (params, stats)), BatchNorm.epsilon)
            weights[name] = {"kernel": layer["kernel"] * scale, "shift": shift}
        elif name.startswith("branch"):
            weights[name] = _folded(layer, stats[name])
    if "branch0_0" in weights:
        reduce = [weights.pop(name)["conv"] for name in ("branch0_0", "branch1_0", "branch2_0")]
        weights["reduce"] = jax.tree.map(lambda *x: jnp.concatenate(x, axis=-1), *reduce)
    return weights


def layers(lowering: Lowering) -> list[Layer]:
    """Returns the layers of S3D; the taps y3, y2, y1 and y0 are the outputs of those of these names."""
    conv = partial(_convolve, lowering=lowering)

    def mixed(name: str, block: str, pool: bool = False) -> Layer:
        return Layer(
            name,
            *(3, 1, 1),
            lambda weights, x: _mixed_space(weights[block], _halved(x) if pool else x, conv),
            lambda weights, x, stride: _mixed_time(weights[block], x, conv),
            is_tap=name.startswith("y"),
        )

    def pool(name: str, size: int, padding: int) -> Layer:
        return Layer(
            name,
            *(size, 2, padding),
            lambda weights, x: max_pool(x, (1, size, size), (1, 2, 2), (0, padding, padding)),
            lambda weights, x, stride: max_pool(x, (size, 1, 1), (stride, 1, 1)),
        )

    return [
        Layer(
            "stem",
            *(7, 2, 3),
            lambda weights, x: conv(weights["base1_0"]["conv_s"], x, (1, 2, 2), (0, 3, 3)),
            lambda weights, x, stride: conv(weights["base1_0"]["conv_t"], x, (stride, 1, 1)),
            cut=lambda weights, x, stride, taps: conv(_some(weights["base1_0"]["conv_t"], taps), x, (stride, 1, 1)),
        ),
        Layer(
            "y3",
            *(3, 1, 1),
            lambda weights, x: conv(
                weights["base1_3"]["conv_s"], conv(weights["base1_2"]["conv"], _halved(x)), padding=(0, 1, 1)
            ),
            lambda weights, x, stride: conv(weights["base1_3"]["conv_t"], x),
            is_tap=True,
        ),
        mixed("base2_0", "base2_0", pool=True),
        mixed("y2", "base2_1"),
        pool("maxp3", 3, 1),
        *(mixed(f"base3_{i}", f"base3_{i}") for i in range(4)),
        mixed("y1", "base3_4"),
        pool("maxp4", 2, 0),
        mixed("base4_0", "base4_0"),
        mixed("y0", "base4_1"),
    ]


def join(name: str, tap: str, kernel: int, before: int, lowering: Lowering) -> Join:
    """Returns a convolution of the decoder, `kernel` x 3 x 3, that reads a tap behind `before` slices of its own."""

    def time(weights: Weights, taps: slice, x: Float[Array, "b t h w i"], stride: int) -> Float[Array, "b t2 h w o"]:
        part = weights[name]["kernel"][taps].astype(x.dtype)
        return conv3d(x, part, (stride, 1, 1), (0, 1, 1), lowering)

    return Join(name, tap, kernel, before, time)


def _convolve(
    weights: Weights, x: jax.Array, strides: Triple = (1, 1, 1), padding: Triple = (0, 0, 0), *, lowering: Lowering
) -> Float[Array, "b t h w c"]:
    """Applies a convolution and ReLU."""
    y = conv3d(x, weights["kernel"].astype(x.dtype), strides, padding, lowering)
    return nn.relu(y + weights["shift"].astype(x.dtype))


def _some(weights: Weights, taps: slice) -> Weights:
    """Returns a convolution with some of the taps in time."""
    return {**weights, "kernel": weights["kernel"][taps]}


def _halved(x: Float[Array, "b t h w c"]) -> Float[Array, "b t h2 w2 c"]:
    return max_pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))


def _mixed_space(weights: Weights, x: Float[Array, "b t h w c"], conv: partial) -> Slices:
    """Returns the four branches of an inception block up to where they look over time."""
    first, second = (weights[name]["conv_s"] for name in ("branch1_1", "branch2_1"))
    reduced = conv(weights["reduce"], x)
    ends = [-first["kernel"].shape[3] - second["kernel"].shape[3], -second["kernel"].shape[3]]
    only, reduced1, reduced2 = reduced[..., : ends[0]], reduced[..., ends[0] : ends[1]], reduced[..., ends[1] :]
    return {
        "only": only,
        "first": conv(first, reduced1, padding=(0, 1, 1)),
        "second": conv(second, reduced2, padding=(0, 1, 1)),
        "pooled": max_pool(x, (1, 3, 3), (1, 1, 1), (0, 1, 1)),
    }


def _mixed_time(weights: Weights, slices: Slices, conv: partial) -> Float[Array, "b t h w c"]:
    """Returns the block's output for all slices but the first and the last."""
    pooled = max_pool(slices["pooled"], (3, 1, 1), (1, 1, 1))
    branches = [
        slices["only"][:, 1:-1],
        conv(weights["branch1_1"]["conv_t"], slices["first"]),
        conv(weights["branch2_1"]["conv_t"], slices["second"]),
        conv(weights["branch3_1"]["conv"], pooled),
    ]
    return jnp.concatenate(branches, axis=-1)
