"""Conversion of a published PyTorch checkpoint to a model folder."""

import dataclasses
import functools
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avsd_jax.common import file_kinds, safetensors_files, staging
from avsd_jax.common.by_name import available, load_module
from avsd_jax.errors import InputError
from avsd_jax.runs.checkpoint import save_variables
from avsd_jax.torch_weights import caffe_files, keras_files, tensorflow_files, torch_files
from avsd_jax.torch_weights.layouts import classifier_of, find
from avsd_jax.torch_weights.prefixes import Part, entries, find_part
from avsd_jax.torch_weights.variables import layers_of, options, part_options, part_variables

# Preprocessing of the clips of each family's published models, for prediction.
_FEEDING = {
    "vinet": {"frame_size": [224, 384], "sampler": "vinet", "preprocessing": "vinet"},
    "stavis": {"frame_size": [112, 112], "sampler": "stavis", "preprocessing": "stavis"},
    "stanet": {"frame_size": [356, 356], "sampler": "centred", "preprocessing": "stanet"},
}


# Keys of weights for `read_state_dict`, which does not depend on the network.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "ema", "module")


# Fields of a model that concern its execution rather than the network.
_NOT_RECORDED = ("parent", "name", "lowering", "axis_name", "precision")


class _Stored:
    """A lazily converted array of known shape."""

    def __init__(self, key: str, tensor: Any):
        self._key, self._tensor = key, tensor
        self.shape, self.dtype = tuple(tensor.shape), tensor.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = torch_files.as_array(self._key, self._tensor)
        return array if dtype is None else array.astype(dtype)


def read_content(path: str | Path) -> Any:
    """Reads a checkpoint file without executing code in it.

    Args:
        path: a file of `torch.save`, also of PyTorch 1.5 and older, or a safetensors file; a Caffe model; a TensorFlow
            checkpoint (its index, a data file, or their common prefix); or Keras's HDF5.

    Returns:
        The content: nested dictionaries, tensors and plain values; of a Keras file `keras_files.Layers`.

    Raises:
        InputError: PyTorch is needed and not installed, the file is something else or damaged, or it holds
            objects that only their own code can read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path} {file_kinds.folder(path)}")
        index = tensorflow_files.index_of(path)
        if index is not None and index.is_file():
            return tensorflow_files.read(index)
        if not path.is_file():
            raise InputError(f"no checkpoint {path}: give the path of an existing file")
        if caffe_files.is_caffemodel(path):
            return caffe_files.read(path)
        if safetensors_files.is_safetensors(path):
            return safetensors_files.read(path)[0]
        layers = keras_files.read(path) if keras_files.is_hdf5(path) else None
        if layers is not None:
            return layers
        foreign = file_kinds.foreign(path)
        if foreign:
            raise InputError(f"{path} {foreign}")
        return torch_files.read(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): give another file") from error


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a checkpoint without executing code in it.

    Args:
        path: a file as `read_content` takes it, with a state dict, bare or under a key such as "state_dict".

    Returns:
        `{key: array}`; floating-point tensors as float32, unless they are float64.

    Raises:
        InputError: the file cannot be read (`read_content`), or holds no state dict.
    """
    content = read_content(path)
    if isinstance(content, keras_files.Layers):
        content = content.named({})
    items = unwrap(content, path).items()
    tensors = {k: v for k, v in items if isinstance(k, str) and hasattr(v, "shape") and hasattr(v, "dtype")}
    return {key: torch_files.as_array(key, tensor) for key, tensor in tensors.items()}


def unwrap(content: Any, path: str | Path = "the checkpoint") -> Mapping[str, Any]:
    """Finds the state dict in the content of a checkpoint file.

    Raises:
        InputError: there is none.
    """
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if isinstance(content, Mapping) and any(hasattr(v, "shape") for v in content.values()):
        return content
    raise _no_state_dict(path)


def _no_state_dict(path: str | Path) -> InputError:
    return InputError(f"{path} holds no state dict, neither bare nor under a key: save the model's state_dict()")


def read_part(name: str, path: str | Path, weights: str | None = None) -> Part:
    """Reads a network's weights from a checkpoint file, at any place in it.

    Args:
        name: one of `avsd_jax.torch_weights.layouts.NAMES`.
        path: a file as `read_content` takes it.
        weights: which of several copies, as `prefixes.find_part` takes it.

    Returns:
        The arrays under the keys of the layout.

    Raises:
        InputError: the file cannot be read, holds no arrays, or they are ambiguous.
    """
    content = read_content(path)
    if isinstance(content, keras_files.Layers):
        content = content.named(layers_of(name))
    found = [dataclasses.replace(entry, array=_Stored(entry.key, entry.array)) for entry in entries(content)]
    if not found:
        raise _no_state_dict(path)
    return find_part(name, found, weights)


def added_arrays(name: str, path: str | Path) -> dict[str, Any]:
    """Reads the arrays of another file that belong to a network: what its own checkpoint does not hold.

    Args:
        name: one of `avsd_jax.torch_weights.layouts.NAMES`.
        path: a file as `read_content` takes it.

    Returns:
        The arrays under the keys of the layout.

    Raises:
        InputError: the file cannot be read, or has none; the layout is not known to have parts elsewhere.
    """
    pattern = re.compile(rf"(?:^|\.)({find(name, {}).added})$")
    result = {}
    for entry in entries(read_content(path)):
        found = pattern.search(entry.bare)
        if found:
            result[found[1]] = _Stored(entry.key, entry.array)
    if not result:
        raise InputError(f"{path} holds nothing that belongs to {name}: leave out --add={path}")
    return result


def model_options(name: str, state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns all options of the model that fits a checkpoint, including defaults."""
    return _with_defaults(name, options(name, state))


def _with_defaults(name: str, found: dict[str, Any]) -> dict[str, Any]:
    if name not in available("avsd_jax.models"):
        return found
    fields = dataclasses.fields(load_module("avsd_jax.models", name, "model").Model)
    defaults = {f.name: f.default for f in fields if f.name not in _NOT_RECORDED}
    return {k: dict(v) if isinstance(v, Mapping) else v for k, v in (defaults | found).items()}


def record(name: str, model: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Returns the `config.json` of a converted model: its options and preprocessing.

    A classifier's is that of the model `avc`, which is a classifier by itself.
    """
    classifier = classifier_of(name)
    if classifier:
        name, model = "avc", {"classifier": classifier, "classifier_options": dict(model)}
    feeding = _FEEDING.get(name.split("_")[0], _FEEDING["vinet"])
    if name in available("avsd_jax.models"):
        own = load_module("avsd_jax.models", name, "model").Model.defaults
        feeding = {field: own.get(field, value) for field, value in feeding.items()}
    built = {"model_name": name, "model": dict(model), "source": source}
    return built | feeding | {"frame_step": 1, "samples_per_video": 1}


def convert(
    name: str, checkpoint: str | Path, out: str | Path, weights: str | None = None, add: Sequence[str | Path] = ()
) -> Path:
    """Converts a checkpoint file to a model folder.

    Args:
        name: one of `avsd_jax.torch_weights.layouts.NAMES`.
        checkpoint: file of PyTorch, safetensors or Caffe.
        out: new or empty folder; it is written atomically.
        weights: path within the file to the weights ("ema", "state_dict.student"), if it holds several; "."
            for the outermost keys.
        add: other files with parts of the network that the checkpoint does not hold.

    Returns:
        `out`.

    Raises:
        InputError: the file cannot be read, does not belong to this network, or the folder cannot be created.
        StorageError: the disk is full or read-only.
    """
    staging.check_target(out)
    part = read_part(name, checkpoint, weights)
    if part.left_out:
        shown = ", ".join(part.left_out[:3]) + (", ..." if len(part.left_out) > 3 else "")
        print(f"note: {len(part.left_out)} arrays beside {part.prefix!r} are left out ({shown})", file=sys.stderr)
    arrays = functools.reduce(lambda known, file: known | added_arrays(name, file), add, part.arrays)
    variables = part_variables(name, arrays)
    model = _with_defaults(name, part_options(name, arrays))
    save_variables(out, record(name, model, Path(checkpoint).name), variables)
    return Path(out)
