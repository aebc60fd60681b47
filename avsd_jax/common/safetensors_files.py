"""Reading and writing of safetensors files, by the safetensors library."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from avsd_jax.errors import InputError

_DTYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    **{f"{letter}{bits}": f"<{letter.lower()}{bits // 8}" for letter in "IU" for bits in (8, 16, 32, 64)},
    **{f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    "C64": "<c8",
    "BF16": ml_dtypes.bfloat16,
}
_MAX_HEADER = 100_000_000  # bytes, by the format


class Stored:
    """An array of a file, read when `numpy.asarray` is taken of it.

    Attributes:
        shape, dtype: of the array.
    """

    def __init__(self, file: Any, key: str, shape: tuple[int, ...], dtype: np.dtype):
        self._file, self._key = file, key
        self.shape, self.dtype = shape, dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self._file.get_tensor(self._key)
        return array if dtype is None else array.astype(dtype)


def is_safetensors(path: Path) -> bool:
    """Returns whether a file begins like one: a plausible length and then a JSON object."""
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_HEADER


def read(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """Opens a safetensors file; its arrays are memory-mapped, so that only used ones are read from disk.

    Returns:
        The arrays by name, and the file's metadata.

    Raises:
        InputError: the file is missing, incomplete, damaged, or has an array of an unknown type.
    """
    try:
        file = safe_open(path, framework="numpy")
        described = {key: file.get_slice(key) for key in sorted(file.keys())}
        types = {key: part.get_dtype() for key, part in described.items()}
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise InputError(f"{path} is a damaged or incomplete safetensors file ({reason}): download it again") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): give another file") from error
    for key, name in types.items():
        if name not in _DTYPES:
            raise InputError(f"{path}: {key!r} has the type {name}: save the weights in single precision")
    arrays = {
        key: Stored(file, key, tuple(part.get_shape()), np.dtype(_DTYPES[types[key]]))
        for key, part in described.items()
    }
    return arrays, dict(file.metadata() or {})


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file: the same bytes for the same arrays and metadata.

    Raises:
        OSError: it cannot be written.
    """
    path.touch()
    mode = path.stat().st_mode  # the user's; some versions of the library make files that nobody else can read
    save_file({key: np.asarray(array, order="C") for key, array in arrays.items()}, path, dict(metadata))
    path.chmod(mode)
    _sort_metadata(path)


def _sort_metadata(path: Path) -> None:
    """Puts the metadata of a file in the order of its names; the library leaves it to the hash of the process."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
        if len(text) != length:
            raise AssertionError(f"{path}: the header has another length")
        file.seek(8)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
