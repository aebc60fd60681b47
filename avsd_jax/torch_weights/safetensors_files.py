"""Reader of safetensors files, by their published format: a JSON header, then the arrays one after the other.

8 bytes: length of the header, little-endian
header: {name: {"dtype": "F32", "shape": [3], "data_offsets": [begin, end]}, "__metadata__": {...}}
the arrays, little-endian, in C order, without gaps
"""

import json
import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from avsd_jax.errors import InputError

_DTYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    **{f"{letter}{bits}": f"<{letter.lower()}{bits // 8}" for letter in "IU" for bits in (8, 16, 32, 64)},
    **{f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    "C64": "<c8",
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}
_MAX_HEADER = 100_000_000  # bytes, by the format


def is_safetensors(path: Path) -> bool:
    """Returns whether a file begins like one: a plausible length and then a JSON object."""
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_HEADER


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a safetensors file; they are memory-mapped, so that only used ones are read from disk.

    Raises:
        InputError: the file is incomplete, damaged, or has an array of an unknown type.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length)
        if len(header) < length:
            raise InputError(f"{path} is an incomplete safetensors file: download it again")
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[8 + length :]
    fields = _parse(path, header)
    fields.pop("__metadata__", None)
    arrays, end = {}, 0
    for key, (dtype, shape, begin, after) in sorted(
        ((key, _field(path, key, field)) for key, field in fields.items()), key=lambda item: item[1][2:]
    ):
        if begin != end or after - begin != math.prod(shape) * dtype.itemsize:
            raise _damaged(path, f"{key!r} does not fill its place")
        if after > len(content):
            raise InputError(f"{path} is an incomplete safetensors file: download it again")
        arrays[key] = np.frombuffer(content[begin:after], dtype).reshape(shape)
        end = after
    if end != len(content):
        raise _damaged(path, f"{len(content) - end} bytes belong to no array")
    return arrays


def _parse(path: Path, header: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a name occurs twice")
        return dict(pairs)

    try:
        fields = json.loads(header, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is no JSON, {error}") from error
    if not isinstance(fields, dict):
        raise _damaged(path, "its header is no object")
    return fields


def _field(path: Path, key: str, field: Any) -> tuple[np.dtype, tuple[int, ...], int, int]:
    """Returns data type, shape, begin and end of an array."""
    if not isinstance(field, Mapping) or not {"dtype", "shape", "data_offsets"} <= field.keys():
        raise _damaged(path, f"{key!r} lacks its type, shape or place")
    name, shape, offsets = field["dtype"], field["shape"], field["data_offsets"]
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _damaged(path, f"{key!r} has an impossible shape or place")
    if not isinstance(name, str) or name not in _DTYPES:
        raise InputError(f"{path}: {key!r} has the type {name}: save the weights in single precision")
    return np.dtype(_DTYPES[name]), tuple(shape), *offsets


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is a damaged safetensors file ({reason}): download it again")
