"""MATLAB files: their variables, and structs taken apart without squeezing.

Nothing is squeezed, because scipy's `simplify_cells` turns the array [2, n, 1] of a single viewer into [2, n].
"""

import functools
import io
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.io

from avsd_jax.errors import InputError


def load(path: Path) -> dict[str, np.ndarray]:
    """The variables of a MATLAB file (before version 7.3), by name.

    Raises:
        InputError: it cannot be read, is damaged, or is of version 7.3.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): put it there, readable") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as scipy's "duplicate variable name": one would hide the other
            variables = scipy.io.loadmat(io.BytesIO(content))
    except NotImplementedError as error:
        raise InputError(f"{path} is a MATLAB 7.3 file: save it with -v7") from error
    # scipy has no one exception for damaged files; these were seen on truncated and garbled ones.
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
    return {name: value for name, value in variables.items() if not name.startswith("__")}


def load_cached(path: Path) -> dict[str, np.ndarray]:
    """As `load`; the last file read stays in memory while it is not changed: one file holds the gaze of a whole set.

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
    """The fields of a 1x1 struct, by name.

    Args:
        value: as `load` gives it.
        where: file and place, for the message.

    Raises:
        InputError: it is no struct, or not a single one.
    """
    names = value.dtype.names
    if names is None or value.size != 1:
        raise InputError(f"{where} is {value.dtype.kind} {list(value.shape)} and not one struct: restore the file")
    record = value.reshape(-1)[0]
    return {name: record[name] for name in names}


def described(value: np.ndarray) -> str:
    """What a variable is, in MATLAB's words, such as "a cell array of 1x3" or "numbers of 48x64x2"."""
    shape = "x".join(map(str, value.shape))
    if value.dtype.names:
        return f"a struct of {shape} with fields {', '.join(value.dtype.names)}"
    kinds = {"O": "a cell array", "U": "text", "S": "text", "c": "complex numbers"}
    return f"{kinds.get(value.dtype.kind, 'numbers')} of {shape}"
