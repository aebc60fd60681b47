"""Variables, inputs and compiled functions for tests, none of them slow to make."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

# Tiny networks run in no time, and XLA's optimisation of them is what takes seconds.
FAST_COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def variables(shapes: Any, seed: int = 0) -> Any:
    """Fills a tree of shapes with numbers that keep activations alive."""
    rng = np.random.default_rng(seed)

    def leaf(path: tuple, shape: jax.ShapeDtypeStruct) -> np.ndarray:
        if path[-1].key in ("scale", "var"):
            return rng.uniform(0.5, 1.5, shape.shape).astype(np.float32)
        fan_in = max(1, np.prod(shape.shape[:-1]))
        return (rng.standard_normal(shape.shape) * np.sqrt(2 / fan_in)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


def shapes(model: Any, *inputs: Any) -> dict[str, Any]:
    """The variables' shapes, nothing being computed."""
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    return jax.eval_shape(lambda *args: model.init(rngs, *args), *inputs)


def fast_jit(function: Callable) -> Callable:
    """`jax.jit` with the quickest compilation."""
    return jax.jit(function, compiler_options=FAST_COMPILE)


def normal(seed: int, *shape: int) -> np.ndarray:
    """Standard normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def flat_shapes(tree: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shape of every leaf by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape) for path, leaf in leaves}
