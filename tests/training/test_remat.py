"""Recomputed blocks: the same step with fewer kept values, and what is kept in bfloat16 is bfloat16."""

import contextlib
from collections.abc import Mapping
from typing import Any

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from avsd_jax import models
from avsd_jax.nn import conv3d, norm, s3d
from avsd_jax.training.remat import recomputed_blocks
from avsd_jax.training.step import cast_floats


def test_blocks_have_the_same_gradients_and_statistics() -> None:
    layers = {"conv": conv3d.Conv3D, "norm": norm.BatchNorm}

    class Two(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = s3d.Separable(4, 3, **layers, name="base1_3")(x, True)
            return s3d.Basic(2, **layers, name="base1_2")(x, True)

    x = drawn.normal(0, 1, 4, 4, 6, 3)
    variables = drawn.variables(drawn.shapes(Two(), x))

    def run(remat: bool) -> Any:
        def loss(params: Any) -> Any:
            with recomputed_blocks() if remat else contextlib.nullcontext():
                y, updates = Two().apply(variables | {"params": params}, x, mutable=["batch_stats"])
            return jnp.sum(jnp.sin(y) * jnp.arange(y.size).reshape(y.shape) / y.size), updates

        return jax.grad(loss, has_aux=True)(variables["params"])

    again, plain = drawn.step_jit(lambda: (run(True), run(False)))()
    for a, b in zip(*map(jax.tree.leaves, (again, plain)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max()))


def kept(model: Any, batch: Mapping[str, Any], remat: bool) -> list[jax.ShapeDtypeStruct]:
    """What the forward pass keeps for the backward one, in a step in bfloat16."""
    variables = drawn.shapes(model, batch)

    def forward(variables: Any, batch: Any) -> Any:
        def output(params: Any) -> Any:
            given = variables | {"params": params}
            with recomputed_blocks() if remat else contextlib.nullcontext():
                out, _ = model.apply(given, batch, train=True, mutable=["batch_stats"])
            return out["saliency"]

        return jax.vjp(output, variables["params"])[1]

    half = cast_floats(jax.tree.map(lambda s: jnp.zeros((), s.dtype), variables["params"]), jnp.bfloat16)
    params = jax.tree.map(lambda s, h: jax.ShapeDtypeStruct(s.shape, h.dtype), variables["params"], half)
    inputs = {k: jax.ShapeDtypeStruct(v.shape, jnp.bfloat16) for k, v in batch.items()}
    return jax.tree.leaves(jax.eval_shape(forward, variables | {"params": params}, inputs))


CASES = {
    "vinet": ({"clip_size": 8, "width": 0.25}, {"video": (2, 8, 64, 96, 3)}),
    "stavis_visual": ({"clip_size": 8, "width": 0.25}, {"video": (2, 8, 64, 64, 3)}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_networks_keep_no_float32_and_less_with_blocks_recomputed(name: str) -> None:
    options, shapes = CASES[name]
    model, batch = models.create(name, **options), {k: np.zeros(s, np.float32) for k, s in shapes.items()}
    plain, less = kept(model, batch, False), kept(model, batch, True)
    activation = batch["video"].size // 8
    assert not [x for x in plain if x.dtype == jnp.float32 and x.size >= activation]
    size = [sum(x.size * x.dtype.itemsize for x in each if x.ndim > 3) for each in (plain, less)]
    assert size[1] < 0.75 * size[0]
