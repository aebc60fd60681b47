"""Reader of MATLAB files: variables, and the fields of structs without squeezing.

Nothing is squeezed, because scipy's `simplify_cells` turns the array [2, n, 1] of a single viewer into [2, n].
"""

import functools
import io
import math
import struct
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from avsd_jax.errors import InputError

# All gaze on SumMe and ETMD together is 0.03 GB in less than 10 million numbers.
_MOST_BYTES = 1 << 30
_MOST_ELEMENTS = 100_000_000
# Of the format (MAT-File Level 5): bytes before the first element, position of the byte order, and kinds of elements.
_HEADER_BYTES, _BYTE_ORDER = 128, slice(126, 128)
_MATRIX, _COMPRESSED = 14, 15
# Position in a matrix of the sizes of its axes, after three tags and the flags.
_AXES = 32
_MOST_AXES = 8


def load(path: Path) -> dict[str, np.ndarray]:
    """Reads the variables of a MATLAB file (before version 7.3), by name.

    Raises:
        InputError: it cannot be read, is damaged, is of version 7.3, or states a size that is not plausible.
    """
    import scipy.io  # takes half a second, only needed for such files

    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): put it there, readable") from error
    _check_sizes(content, path)
    try:
        with warnings.catch_warnings():
            # Such as "duplicate variable name": one would replace the other.
            warnings.simplefilter("error", scipy.io.matlab.MatReadWarning)
            variables = scipy.io.loadmat(io.BytesIO(content), spmatrix=False)
    except NotImplementedError as error:
        raise InputError(f"{path} is a MATLAB 7.3 file: save it with -v7") from error
    # scipy has no single exception for damaged files; these were observed for truncated and corrupted ones.
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        EOFError,
        OSError,
        OverflowError,
        MemoryError,
        Warning,
    ) as error:
        raise InputError(f"{path} is not a readable .mat file ({error}): restore or save it again") from error
    except (zlib.error, scipy.io.matlab.MatReadError) as error:
        raise InputError(f"{path} is a damaged .mat file ({error}): restore or save it again") from error
    return {name: _full(value, f"{path}: {name}") for name, value in variables.items() if not name.startswith("__")}


def _check_sizes(content: bytes, path: Path) -> None:
    """Refuses variables with a stated size larger than any dataset's, before scipy allocates the memory."""
    order = {b"IM": "<", b"MI": ">"}.get(content[_BYTE_ORDER])
    at = _HEADER_BYTES
    # Level 4 has no such header.
    while order and at + 8 <= len(content):
        kind, length = struct.unpack_from(f"{order}II", content, at)
        start = content[at : at + _AXES + 4 * _MOST_AXES]
        if kind == _COMPRESSED:
            try:
                start = zlib.decompressobj().decompress(content[at + 8 : at + 8 + length], _AXES + 4 * _MOST_AXES)
            except zlib.error:  # scipy reports it
                return
        at += 8 + length
        if len(start) < _AXES:
            continue
        kind, stated = struct.unpack_from(f"{order}II", start)
        (axes_bytes,) = struct.unpack_from(f"{order}I", start, _AXES - 4)
        axes = min(axes_bytes // 4, _MOST_AXES, (len(start) - _AXES) // 4)
        shape = struct.unpack_from(f"{order}{axes}i", start, _AXES)
        if kind == _MATRIX and (stated > _MOST_BYTES or math.prod(map(abs, shape)) > _MOST_ELEMENTS):
            raise InputError(
                f"{path} states a variable of {'x'.join(map(str, shape))} elements and {stated} bytes, more than any "
                "recording has: restore or save it again"
            )


def _full(value: Any, where: str) -> np.ndarray:
    """Returns a variable as an array, also if MATLAB saved it as a sparse matrix."""
    from scipy import sparse

    if not sparse.issparse(value):
        return value
    if math.prod(value.shape) > _MOST_ELEMENTS:
        raise InputError(f"{where} is a sparse matrix of {value.shape[0]}x{value.shape[1]}: save it in its true size")
    return value.toarray()


def load_cached(path: Path) -> dict[str, np.ndarray]:
    """Reads a file as `load` does; the last one stays in memory until it changes, as it may hold a dataset's gaze.

    Raises:
        InputError: as `load`.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): put it there, readable") from error
    return _load_state(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=1)
def _load_state(path: Path, *_: int) -> dict[str, np.ndarray]:
    return load(path)


def fields(value: np.ndarray, where: str) -> Mapping[str, np.ndarray]:
    """Returns the fields of a 1x1 struct, by name.

    Args:
        value: as `load` returns it.
        where: file and variable, for the message.

    Raises:
        InputError: it is not a single struct.
    """
    names = value.dtype.names
    if names is None or value.size != 1:
        raise InputError(f"{where} is {value.dtype.kind} {list(value.shape)} and not one struct: restore the file")
    record = value.reshape(-1)[0]
    return {name: record[name] for name in names}


def described(value: np.ndarray) -> str:
    """Describes a variable in MATLAB's terms, such as "a cell array of 1x3" or "numbers of 48x64x2"."""
    shape = "x".join(map(str, value.shape))
    if value.dtype.names:
        return f"a struct of {shape} with fields {', '.join(value.dtype.names)}"
    kinds = {"O": "a cell array", "U": "text", "S": "text", "c": "complex numbers"}
    return f"{kinds.get(value.dtype.kind, 'numbers')} of {shape}"
