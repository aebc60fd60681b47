"""The weights of a shared model: `model.safetensors` beside its `config.json`, and no `checkpoints/`.

An array is named by its collection and its path in it: "params/decoder/conv/kernel". The metadata has the step of the
run (`step`, 0 if there is none), the version of this library, and `partial` if the model is to start others and lacks
some of its arrays, as a published encoder without a head does. Large weights may be in several files, whose index,
`model.safetensors.index.json`, says which array is in which file (`weight_map`).
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from avsd_jax.batch import batch_shapes
from avsd_jax.common import atomic_files, safetensors_files
from avsd_jax.common.hub import INDEX, SHARDS, WEIGHTS
from avsd_jax.common.safe_paths import read_text
from avsd_jax.common.wording import some
from avsd_jax.errors import InputError
from avsd_jax.runs.components import Inference

Tree = Mapping[str, Any]

# Of one file, as on the hub.
MAX_BYTES = 5_000_000_000


def is_in(folder: Path) -> bool:
    """Returns whether a folder holds such weights."""
    return (folder / WEIGHTS).is_file() or (folder / INDEX).is_file()


# ---------------------------------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------------------------------


def read(folder: Path, config: ConfigDict) -> tuple[dict[str, Any], int]:
    """Reads the weights of a model as NumPy arrays.

    Args:
        folder: of the model.
        config: its record.

    Returns:
        The variables, and their step. Floating-point arrays have the types of the model's, whatever they are stored in.

    Raises:
        InputError: a file is missing, damaged or incomplete; an array of the model is missing and the file is not
            `partial`, there is one that it does not have, or one has another shape or is not finite.
    """
    path, arrays, metadata = _opened(folder)
    step = metadata.get("step", "0")
    if not step.isdecimal():
        raise InputError(f"{path} has the step {step!r} in its metadata, which is no number: download it again")
    return _nested(_fitted(path, arrays, config, "partial" in metadata)), int(step)


def _opened(folder: Path) -> tuple[Path, dict[str, Any], dict[str, str]]:
    """Returns the file that says what there is, the arrays by name, and the metadata."""
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS, *safetensors_files.read(folder / WEIGHTS)
    path = folder / INDEX
    try:
        places = dict(json.loads(read_text(path))["weight_map"])
        names = set(places.values())
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}): download it again") from error
    for name in names:
        if not isinstance(name, str) or not SHARDS.fullmatch(name):
            raise InputError(f"{path} names {name!r}: files of weights are model-00001-of-00002.safetensors and so on")
        if not (folder / name).is_file():
            raise InputError(f"{folder} lacks {name}, which {INDEX} names: download it again")
    read_in = {name: safetensors_files.read(folder / name) for name in sorted(names)}
    for key, name in places.items():
        if key not in read_in[name][0]:
            raise InputError(f"{folder / name} lacks {key}, which {INDEX} says is in it: download it again")
    metadata = next((metadata for _, metadata in read_in.values()), {})
    return path, {key: read_in[name][0][key] for key, name in places.items()}, metadata


def _fitted(path: Path, arrays: Mapping[str, Any], config: ConfigDict, partial: bool) -> dict[str, np.ndarray]:
    """Returns the values of arrays that are those of a model."""
    needed, known = shapes(config)
    missing = sorted(set(needed) - set(arrays))
    if missing and not partial:
        raise InputError(
            f"{path} lacks {some(missing, 3, ', ')} of {config.model_name} as config.json has it: download it again"
        )
    extra = sorted(set(arrays) - set(known))
    if extra:
        raise InputError(
            f"{path} has {some(extra, 3, ', ')}, which {config.model_name} has not as config.json has it: restore the "
            "config.json of these weights"
        )
    result = {}
    for key, stored in arrays.items():
        if stored.shape != known[key].shape:
            raise InputError(
                f"{path}: {key} is {list(stored.shape)} there and {list(known[key].shape)} in {config.model_name} as "
                "config.json has it: restore the config.json of these weights"
            )
        result[key] = _value(path, key, stored, known[key].dtype)
    return result


def _value(path: Path, key: str, stored: Any, dtype: Any) -> np.ndarray:
    if jax.numpy.issubdtype(stored.dtype, np.floating) != jax.numpy.issubdtype(dtype, np.floating):
        raise InputError(f"{path}: {key} is {stored.dtype} there and {dtype} in the model: download it again")
    value = np.asarray(stored).astype(dtype, copy=False)
    if jax.numpy.issubdtype(dtype, np.floating) and not np.isfinite(value).all():
        raise InputError(f"{path}: {key} holds values that are not finite: download it again, or train again")
    return value


def _nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {"params": {}} | traverse_util.unflatten_dict(arrays, sep="/")


def shapes(config: ConfigDict) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the shapes and types of a model's variables by name: those that it needs, and all that it can have.

    It can have more than it needs where models train by one step (`Network.trained_as`).

    Raises:
        InputError: the configuration names no model, or one that cannot be built.
    """
    if "model_name" not in config:
        raise InputError("config.json names no model_name: it is not of this library; give another folder")
    parts = Inference.from_config(config)
    needed = _shapes(parts.model, parts)
    return needed, needed if parts.model.trained_as == parts.model else needed | _shapes(parts.model.trained_as, parts)


def _shapes(model: Any, parts: Inference) -> dict[str, Any]:
    keys = jax.eval_shape(lambda: {"params": jax.random.key(0), "dropout": jax.random.key(0)})
    init = functools.partial(model.init, train=False)
    try:
        found = jax.eval_shape(init, keys, batch_shapes(parts.spec))
    except (InputError, MemoryError):
        raise
    except Exception as error:  # layers raise many types where sizes do not fit
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise InputError(f"the model cannot be built as its config.json has it ({reason}): restore it") from error
    return flattened(dict(found))


# ---------------------------------------------------------------------------------------------------------------------
# Writing
# ---------------------------------------------------------------------------------------------------------------------


def flattened(variables: Tree) -> dict[str, Any]:
    """Returns the arrays of variables by name."""
    return traverse_util.flatten_dict(dict(variables), sep="/")


@dataclasses.dataclass(frozen=True)
class Kept:
    """The arrays of a model that are written: all that it needs, as far as it has them.

    Attributes:
        arrays: by name.
        missing: names of those that it needs and lacks, as a published encoder without a head does.
        left_out: names of those that are not written, because the model does not have them as it is configured.
    """

    arrays: dict[str, np.ndarray]
    missing: tuple[str, ...]
    left_out: tuple[str, ...]


def kept(config: ConfigDict, variables: Tree, source: str | Path) -> Kept:
    """Returns what of a model's variables is to be written.

    Args:
        config: the model's record.
        variables: without a temperature.
        source: of them, for messages.

    Raises:
        InputError: there is none, or one has another shape or is not finite.
    """
    needed, known = shapes(config)
    given = {key: np.asarray(value) for key, value in flattened(variables).items()}
    chosen = {key: value for key, value in given.items() if key in known}
    missing = sorted(set(needed) - set(chosen))
    if needed and not chosen:
        raise InputError(f"{source} has no weights of {config.model_name}: train or convert it again")
    for key, value in chosen.items():
        if value.shape != known[key].shape:
            raise InputError(
                f"{source}: {key} is {list(value.shape)}, not {list(known[key].shape)}: restore config.json"
            )
        if jax.numpy.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            raise InputError(f"{source}: {key} holds values that are not finite: train it again")
    return Kept(chosen, tuple(missing), tuple(sorted(set(given) - set(chosen))))


def write(folder: Path, kept: Kept, step: int, max_bytes: int = MAX_BYTES) -> list[str]:
    """Writes arrays into a folder, in several files if one would be larger than `max_bytes`; returns their names.

    Raises:
        OSError: a file cannot be written.
    """
    arrays = kept.arrays
    metadata = {"format": "flax", "avsd_jax": version("avsd-jax"), "step": str(step)}
    metadata |= {"partial": "true"} if kept.missing else {}
    shards = _shards(arrays, max_bytes)
    if len(shards) == 1:
        safetensors_files.write(folder / WEIGHTS, arrays, metadata)
        return [WEIGHTS]
    names = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        safetensors_files.write(folder / name, {key: arrays[key] for key in shard}, metadata)
    places = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
    index = {"metadata": {"total_size": sum(x.nbytes for x in arrays.values())}, "weight_map": places}
    atomic_files.write_json(folder / INDEX, index)
    return [*names, INDEX]


def _shards(arrays: Mapping[str, np.ndarray], max_bytes: int) -> list[list[str]]:
    """Returns the names of arrays by file, in order."""
    shards, size = [[]], 0
    for key in sorted(arrays):
        if shards[-1] and size + arrays[key].nbytes > max_bytes:
            shards.append([])
            size = 0
        shards[-1].append(key)
        size += arrays[key].nbytes
    return shards
