"""Conversion of weights published for PyTorch to Flax variables.

A checkpoint is a flat {key: array} in the layout of the official code. Its expected content is derived from our own
model: each variable has one key, by `checkpoint_key` and the layout's renaming rules
(`avsd_jax.torch_weights.layouts`), and one shape, by `_stored_shape`.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from avsd_jax.errors import InputError
from avsd_jax.torch_weights.layout import Path
from avsd_jax.torch_weights.layouts import Layout, checkpoint_key, find
from avsd_jax.torch_weights.prefixes import entries, find_part


def to_variables(name: str, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Converts a checkpoint in the official layout.

    Args:
        name: of the network: a model of `avsd_jax.models` or a classifier of
            `avsd_jax.models.classifiers` that has published weights. Variants (ViNet's clip lengths and
            numbers of skips, AViNet's fusions) are recognised; `options` returns them.
        state_dict: {key: array}; keys may have any prefix ("module.", "_orig_mod.", "model.", ...),
            "num_batches_tracked" entries may be absent.

    Returns:
        {"params": ..., "batch_stats": ...}, float32, for `models.create(name, **options(name, state_dict))`.
        `avid` gives encoders and projections, `avid_avchead` encoders and the head `features` of the classifier avid,
        `openl3_audio` the audio encoder of an l3net. Two classes of l3net, avenet and avid_avchead are swapped: ours is
        1 = consistent, the published 0 = corresponds.

    Raises:
        InputError: unknown name, missing or unknown key, wrong shape, or values that cannot be weights; the message
            names it.
    """
    return part_variables(name, find_part(name, list(entries(state_dict))).arrays)


def part_variables(name: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Converts arrays under the layout's own keys (`avsd_jax.torch_weights.prefixes.find_part`); see `to_variables`.

    The shapes are checked first; the values are converted one by one after all keys and shapes are found to be right.
    """
    shapes = {key: tuple(np.shape(array)) for key, array in arrays.items()}
    layout = find(name, shapes)
    expected = traverse_util.flatten_dict(layout.variables(layout.options(shapes), shapes))
    constants = {tuple(path.split("/")): value for path, value in layout.constants}
    keys = {path: checkpoint_key(path, layout) for path in expected if path not in constants}

    for path, leaf in expected.items():
        if path in constants:
            continue
        key = keys[path]
        wanted = _stored_shape(path, leaf.shape, _is_transposed(key, layout), layout.order)
        if key not in shapes:
            raise InputError(f"the checkpoint has no {key!r}, which {name} needs: give a checkpoint of {name}")
        # A 1-D kernel is stored as an image of one column or of one row, a 3-D one of one frame also as an image.
        row = (*wanted[:2], 1, wanted[2]) if len(leaf.shape) == 3 and len(wanted) == 4 else wanted
        image = (*wanted[:2], *wanted[3:]) if len(wanted) == 5 and wanted[2] == 1 else wanted
        if shapes[key] not in (wanted, row, image):
            fix = "give another checkpoint"
            if sorted(shapes[key]) == sorted(wanted):
                fix = "its axes have another order, as in TensorFlow's files; give one that PyTorch saved"
            raise InputError(f"{key!r} has shape {shapes[key]} where {name} needs {wanted}: {fix}")
    for key in sorted(shapes.keys() - set(keys.values())):
        if re.search(layout.twins[0], key):
            _check_twin(key, re.sub(*layout.twins, key), arrays)
        elif not re.search(layout.unused, key) and not key.endswith("num_batches_tracked"):
            raise InputError(f"the checkpoint has {key!r}, which {name} does not know: give a checkpoint of {name}")

    def convert(path: Path) -> jax.Array:
        if path in constants:
            return jnp.full(expected[path].shape, constants[path], jnp.float32)
        array = _weights(keys[path], arrays[keys[path]], path[-1] == "var")
        if keys[path] in layout.swapped:
            array = array[::-1]
        transposed = _is_transposed(keys[path], layout)
        return jnp.asarray(_reorder(path, expected[path].shape, array, transposed, layout.order))

    tree = traverse_util.unflatten_dict({path: convert(path) for path in expected})
    return {"params": tree["params"], "batch_stats": tree.get("batch_stats", {})}


def options(name: str, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a checkpoint's model, as `models.create` takes them; {} for the default.

    Raises:
        InputError: unknown name.
    """
    return part_options(name, find_part(name, list(entries(state_dict))).arrays)


def part_options(name: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options for arrays under the layout's own keys; see `options`."""
    shapes = {key: tuple(np.shape(array)) for key, array in arrays.items()}
    return find(name, shapes).options(shapes)


def layers_of(name: str) -> dict[str, dict[str, tuple[int, ...]]]:
    """Returns the shapes of a network's arrays by layer, in the order of the network, for `keras_files.Layers.named`.

    Raises:
        InputError: unknown name, or no layout of a Keras file is known of the network.
    """
    layout = find(name, {})
    if not layout.layers:
        raise InputError(f"no layout of a Keras file is known of {name}: give a file of another kind")
    layers: dict[str, dict[str, tuple[int, ...]]] = {layer: {} for layer in layout.layers}
    for path, leaf in traverse_util.flatten_dict(layout.variables(layout.options({}), {})).items():
        layer, _, array = checkpoint_key(path, layout).rpartition(".")
        layers[layer][array] = leaf.shape
    return layers


# ---------------------------------------------------------------- one variable


def _check_twin(key: str, other: str, arrays: Mapping[str, Any]) -> None:
    """Raises InputError unless an array has the same values under its other name."""
    if other in arrays and not np.array_equal(np.asarray(arrays[key]), np.asarray(arrays[other])):
        raise InputError(
            f"the checkpoint has different values for {key!r} and {other!r}, which are one array: give the file as it "
            "was saved"
        )


def _weights(key: str, array: Any, is_variance: bool) -> np.ndarray:
    """Converts an array of a checkpoint to float32.

    Raises:
        InputError: it does not hold floating-point numbers, or holds values that are NaN, infinite or too large for
            float32, or a negative variance.
    """
    values = np.asarray(array)
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise InputError(
            f"{key!r} holds {values.dtype} numbers where weights are floating-point: give the checkpoint as it was "
            "trained, not a quantised or converted one"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        weights = values.astype(np.float32)
    wrong = weights.size - np.count_nonzero(np.isfinite(weights))
    if wrong:
        raise InputError(
            f"{key!r} has {wrong} of {weights.size} values that are NaN or infinite: the training diverged or half "
            "precision overflowed; give an earlier checkpoint or one saved in single precision"
        )
    if is_variance and weights.size and weights.min() < 0:
        raise InputError(f"{key!r} has negative variances: the checkpoint is damaged; download it again")
    return weights


def _is_transposed(key: str, layout: Layout) -> bool:
    """Returns whether a key belongs to the kernel of a transposed convolution."""
    return key.endswith((".weight", ".weights")) and bool(re.search(layout.transposed, key))


def _stored_shape(path: Path, shape: tuple[int, ...], transposed: bool, order: str) -> tuple[int, ...]:
    """Returns the shape of a variable in PyTorch, where kernels are (out, in, ...), 1-D ones 2-D with a width of 1.

    In TensorFlow it is ours, but for transposed kernels, (..., out, in).
    """
    if order == "tensorflow":
        return (*shape[:-2], shape[-1], shape[-2]) if transposed else shape
    if path[-1] != "kernel" or path[-2] == "bilinear":
        return shape
    *window, i, o = shape
    if transposed:
        return (i, o, *window)
    return (o, i, *window, 1) if len(shape) == 3 else (o, i, *window)


def _reorder(path: Path, shape: tuple[int, ...], array: np.ndarray, transposed: bool, order: str) -> np.ndarray:
    """Converts from PyTorch's order of axes, (out, in, ...), or TensorFlow's, to ours, (..., in, out)."""
    if order == "tensorflow":
        return np.flip(array, tuple(range(array.ndim - 2))).swapaxes(-1, -2) if transposed else array
    if path[-1] != "kernel" or path[-2] == "bilinear":
        return array
    if transposed:
        # Stored as (in, out, ...), and flipped relative to the kernel of the equivalent convolution.
        return np.flip(np.moveaxis(array, (0, 1), (-2, -1)), tuple(range(array.ndim - 2)))
    return np.moveaxis(array, (0, 1), (-1, -2)).reshape(shape)
