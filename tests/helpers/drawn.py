"""Variables, inputs and compiled functions for tests, all fast to create."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Tiny networks run in no time, and XLA's optimisation of them is what takes seconds.
FAST_COMPILE = {"xla_backend_optimization_level": 1, "xla_llvm_disable_expensive_passes": True}
# Twice as fast, with the same gradients.
STEP_COMPILE = FAST_COMPILE | {"xla_cpu_use_fusion_emitters": False}
# Four times as fast, for outputs alone: at level 0 gradients of AVID are wrong, by a fifth of their norm and more (jax
# 0.10 and 0.12, CPU); those of ViNet, STAViS, DAVE and AAM are right.
FORWARD_COMPILE = STEP_COMPILE | {"xla_backend_optimization_level": 0}


def variables(shapes: Any, seed: int = 0) -> Any:
    """Fills a tree of shapes with numbers that keep activations alive."""
    rng = np.random.default_rng(seed)

    def leaf(path: tuple, shape: jax.ShapeDtypeStruct) -> jax.Array:
        if path[-1].key in ("scale", "var"):
            return jnp.asarray(rng.uniform(0.5, 1.5, shape.shape), jnp.float32)
        fan_in = max(1, np.prod(shape.shape[:-1]))
        return jnp.asarray(rng.standard_normal(shape.shape) * np.sqrt(2 / fan_in), jnp.float32)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


def shapes(model: Any, *inputs: Any) -> dict[str, Any]:
    """The variables' shapes, nothing being computed."""
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    return jax.eval_shape(lambda *args: model.init(rngs, *args), *inputs)


def fast_jit(function: Callable) -> Callable:
    """`jax.jit` with the quickest compilation."""
    return jax.jit(function, compiler_options=FAST_COMPILE)


def forward_jit(function: Callable) -> Callable:
    """`jax.jit` with a still quicker compilation, for outputs that are compared with recorded ones; no gradients."""
    return jax.jit(function, compiler_options=_or_fast(FORWARD_COMPILE))


def step_jit(function: Callable) -> Callable:
    """`jax.jit` with a compilation between the two, for training steps: gradients are as those of `fast_jit`."""
    return jax.jit(function, compiler_options=_or_fast(STEP_COMPILE))


@functools.cache
def _supported(names: tuple[str, ...], values: tuple[Any, ...]) -> dict[str, Any]:
    """Returns compiler options, or the fast ones where a newer XLA no longer has one of them."""
    options = dict(zip(names, values, strict=True))
    try:
        jax.jit(lambda: 0, compiler_options=options)()
    except jax.errors.JaxRuntimeError:
        return FAST_COMPILE
    return options


def _or_fast(options: dict[str, Any]) -> dict[str, Any]:
    return _supported(tuple(options), tuple(options.values()))


def forward_options() -> dict[str, Any]:
    """Compiler options of `forward_jit`."""
    return _or_fast(FORWARD_COMPILE)


def normal(seed: int, *shape: int) -> jax.Array:
    """Standard normal float32 numbers."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def flat_shapes(tree: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shape of every leaf by its path."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
