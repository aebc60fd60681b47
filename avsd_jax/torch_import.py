"""Weights published for PyTorch, as Flax variables.

A checkpoint is a flat {key: array} in the layout of the official code. What it must hold is read from our own
model: each variable has one key, by `checkpoint_key` and the layout's renaming rules (`avsd_jax.torch_layouts`), and
one shape, by `_stored_shape`.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from avsd_jax.errors import InputError
from avsd_jax.torch_layouts import Layout, find

Path = tuple[str, ...]


def to_variables(name: str, state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Converts a checkpoint in the official layout.

    Args:
        name: what the checkpoint is of: a model of `avsd_jax.models` or a classifier of
            `avsd_jax.models.classifiers` that has published weights. Variants (ViNet's clip lengths and
            numbers of skips, AViNet's fusions) are recognised; `options` tells them.
        state_dict: {key: array}; keys may start with "module.", "num_batches_tracked" entries may be absent.

    Returns:
        {"params": ..., "batch_stats": ...}, float32, for `models.create(name, **options(name, state_dict))`.
        l3net's two classes are swapped: ours is 1 = consistent, the published 0 = corresponds.

    Raises:
        InputError: unknown name, missing or unknown key, or wrong shape; the message names it.
    """
    arrays = {key.removeprefix("module."): array for key, array in state_dict.items()}
    shapes = {key: tuple(np.shape(array)) for key, array in arrays.items()}
    layout = find(name, shapes)
    expected = traverse_util.flatten_dict(layout.variables(layout.options(shapes), shapes))
    keys = {path: checkpoint_key(path, layout) for path in expected}

    for path, leaf in expected.items():
        key = keys[path]
        wanted = _stored_shape(path, leaf.shape, _is_transposed(key, layout))
        if key not in shapes:
            raise InputError(f"the checkpoint has no {key!r}, which {name} needs: give a checkpoint of {name}")
        # A 1-D kernel is stored as a picture of one column or of one row.
        row = (*wanted[:2], 1, wanted[2]) if len(leaf.shape) == 3 and len(wanted) == 4 else wanted
        if shapes[key] not in (wanted, row):
            raise InputError(f"{key!r} has shape {shapes[key]} where {name} needs {wanted}: give another checkpoint")
    for key in sorted(shapes.keys() - set(keys.values())):
        if not re.search(layout.unused, key) and not key.endswith("num_batches_tracked"):
            raise InputError(f"the checkpoint has {key!r}, which {name} does not know: give a checkpoint of {name}")

    def convert(path: Path) -> jax.Array:
        array = np.asarray(arrays[keys[path]], np.float32)
        if keys[path] in layout.swapped:
            array = array[::-1]
        transposed = _is_transposed(keys[path], layout)
        return jnp.asarray(_reorder(path, expected[path].shape, array, transposed))

    tree = traverse_util.unflatten_dict({path: convert(path) for path in expected})
    return {"params": tree["params"], "batch_stats": tree.get("batch_stats", {})}


def options(name: str, state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Options of the model that a checkpoint is of, as `models.create` takes them; {} for the default.

    Raises:
        InputError: unknown name.
    """
    shapes = {key.removeprefix("module."): np.shape(array) for key, array in state_dict.items()}
    return find(name, shapes).options(shapes)


# ---------------------------------------------------------------- one variable


def checkpoint_key(path: Path, layout: Layout) -> str:
    """The checkpoint's key of a variable: params/base1_0/conv_s/kernel is base1.0.conv_s.weight."""
    *modules, leaf = path[1:]
    leaf = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}.get(leaf, leaf)
    key = ".".join([*(re.sub(r"_(\d+)$", r".\1", module) for module in modules), leaf])
    for pattern, replacement in layout.rename:
        key = re.sub(pattern, replacement, key)
    return key


def _is_transposed(key: str, layout: Layout) -> bool:
    """Whether a key is that of a transposed convolution's kernel."""
    return key.endswith(".weight") and bool(re.search(layout.transposed, key))


def _stored_shape(path: Path, shape: tuple[int, ...], transposed: bool) -> tuple[int, ...]:
    """PyTorch's shape of a variable: kernels are (out, in, ...), 1-D ones 2-D with a width of 1."""
    if path[-1] != "kernel" or path[-2] == "bilinear":
        return shape
    *window, i, o = shape
    if transposed:
        return (i, o, *window)
    return (o, i, *window, 1) if len(shape) == 3 else (o, i, *window)


def _reorder(path: Path, shape: tuple[int, ...], array: np.ndarray, transposed: bool) -> np.ndarray:
    """From PyTorch's order of axes, (out, in, ...), to ours, (..., in, out)."""
    if path[-1] != "kernel" or path[-2] == "bilinear":
        return array
    if transposed:
        # Stored as (in, out, ...), and flipped against the kernel of the convolution that it is.
        return np.flip(np.moveaxis(array, (0, 1), (-2, -1)), tuple(range(array.ndim - 2)))
    return np.moveaxis(array, (0, 1), (-1, -2)).reshape(shape)
