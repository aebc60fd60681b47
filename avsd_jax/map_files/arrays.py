"""Saliency maps as arrays: `.npz`, `.npy` and `.mat`, one volume per video or one map per frame.

A volume is [n, h, w] in NumPy files and [h, w, n] in MATLAB files. The other order is recognised by the number of
frames of the video and by the shape of its ground truth, and reported; axes of length 1 are ignored. Ambiguous arrays
are refused.
"""

import math
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Int, Num

from avsd_jax.errors import InputError
from avsd_jax.map_files import colour as colours
from avsd_jax.map_files import mat_files

ARCHIVE, OTHER_SUFFIXES = ".npz", (".npy", ".mat")
# Exceptions of zipfile and zlib for damaged archives, and of NumPy for damaged headers.
_OF_ZIP = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError)
_OF_HEADERS = (ValueError, SyntaxError, tokenize.TokenError)

# Largest difference of the aspect ratios of maps and ground truth, as a logarithm, that counts as the same shape.
_SAME_SHAPE = 0.05


@dataclass(frozen=True)
class Expected:
    """Known properties of the video that maps belong to.

    Attributes:
        num_frames: its number of frames; None: unknown.
        size: (height, width) of its ground truth; None: unknown.
        first: the number of its first frame, if files number their maps by `frames`.
    """

    num_frames: int | None = None
    size: tuple[int, int] | None = None
    first: int = 0


def read_volume(
    path: Path, expected: Expected, colour: str, notes: Counter[str]
) -> Iterator[tuple[int, Num[np.ndarray, "h w"]]]:
    """Yields (frame, map) of a file with all maps of a video: the frames in `frames`, else 0 to n - 1.

    A volume in NumPy's order is streamed from an `.npz`, so that it is never completely in memory.

    Raises:
        InputError: the file is damaged, or holds no maps, or its time axis is ambiguous; the message names it.
    """
    suffix = path.suffix.lower()
    if suffix == ARCHIVE:
        yield from _read_archive(path, expected, colour, notes)
        return
    values, frames = _load(path)
    yield from _maps(path, values, frames, expected, colour, notes, "hwn" if suffix == ".mat" else "nhw")


def read_map(path: Path, colour: str, notes: Counter[str]) -> Num[np.ndarray, "h w"]:
    """Returns the one map that a `.npy` or `.mat` file holds.

    Raises:
        InputError: the file is damaged or holds something else.
    """
    values, _ = _load(path)
    _check_type(path, values.shape, values.dtype)
    shape = tuple(n for n in values.shape if n > 1) or (1,)
    if values.ndim > 2 and len(shape) in (2, 3):
        values = values.reshape(shape)
    if values.ndim == 3 and values.shape[-1] in (3, 4):
        values = colours.grey(values, colour, str(path), notes)
    if values.ndim != 2 or not values.size:
        raise InputError(f"{path} has an array of shape {values.shape}: write one map [h, w] per frame")
    return _plain(values, notes)


def frame_numbers(path: Path) -> Int[np.ndarray, " n"] | None:
    """Returns `frames` of an `.npz` or `.mat` file; None if there is none, or it does not hold whole numbers.

    Raises:
        InputError: the file is damaged.
    """
    if path.suffix.lower() != ARCHIVE:
        return _load(path)[1]
    try:
        with zipfile.ZipFile(path) as archive:
            frames = _frames(archive)
    except (*_OF_ZIP, *_OF_HEADERS) as error:
        raise _damaged(path, error) from error
    return frames if frames is not None and frames.ndim == 1 and frames.dtype.kind in "iu" else None


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------


def _read_archive(
    path: Path, expected: Expected, colour: str, notes: Counter[str]
) -> Iterator[tuple[int, Num[np.ndarray, "h w"]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            frames = _frames(archive)
            key = _key(path, [name for name in names if name != "frames" or len(names) == 1])
            with archive.open(f"{key}.npy") as file:
                yield from _members(path, file, frames, expected, colour, notes)
    except (*_OF_ZIP, *_OF_HEADERS) as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(path, error) from error


def _members(
    path: Path, file: IO[bytes], frames: np.ndarray | None, expected: Expected, colour: str, notes: Counter[str]
) -> Iterator[tuple[int, Num[np.ndarray, "h w"]]]:
    """Yields the maps of an array inside an archive."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(file)
    _check_type(path, shape, dtype)
    order = volume_order(path, shape, frames, expected, "nhw")
    if fortran or order.time or order.channels is not None:
        count = math.prod(shape)
        data = file.read(count * dtype.itemsize)
        values = np.frombuffer(data, dtype, count).reshape(shape, order="F" if fortran else "C")
        yield from _maps(path, values, frames, expected, colour, notes, "nhw")
        return
    length, height, width = order.shape
    size = dtype.itemsize * height * width
    for number in _places(length, frames, expected):
        data = file.read(size)
        if len(data) < size:
            raise InputError(f"{path} ends before its last map: write it again")
        yield number, _plain(np.frombuffer(data, dtype).reshape(height, width), notes)


def _load(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the array of a `.npy` or `.mat` file, and its `frames`."""
    if path.suffix.lower() == ".npy":
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, EOFError, *_OF_HEADERS) as error:
            # NumPy takes an unknown file for a pickle, and explains how to run one.
            why = "no array" if "pickle" in str(error) else error
            raise InputError(f"{path} is damaged or no .npy of maps ({why}): write it again") from error
        if not isinstance(values, np.ndarray):
            raise InputError(f"{path} is an archive and no .npy: call it .npz")
        return values, None
    variables = mat_files.load(path)
    frames = variables.get("frames")
    known = [name for name, value in variables.items() if value.ndim >= 2 and name != "frames"]
    return variables[_key(path, known)], None if frames is None else _whole(path, frames.reshape(-1))


def _whole(path: Path, numbers: np.ndarray) -> Int[np.ndarray, " n"]:
    """Converts MATLAB's numbers, which are floats, to whole ones."""
    if numbers.dtype.kind not in "fiu" or (numbers != np.round(numbers)).any():
        raise InputError(f"{path} has `frames` of type {numbers.dtype}: one whole number per map")
    return numbers.astype(np.int64)


def _frames(archive: zipfile.ZipFile) -> np.ndarray | None:
    if "frames.npy" not in archive.namelist() or len(archive.namelist()) == 1:
        return None
    with archive.open("frames.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _key(path: Path, names: Sequence[str]) -> str:
    """Returns the name of the array that holds the maps: `saliency`, or the only one."""
    if "saliency" not in names and len(names) != 1:
        found = ", ".join(names[:4]) + (f", ... ({len(names)})" if len(names) > 4 else "")
        raise InputError(f"{path} has no array `saliency` (it has {found or 'none'}): name the maps so")
    return "saliency" if "saliency" in names else names[0]


def _damaged(path: Path, error: BaseException) -> InputError:
    return InputError(f"{path} is damaged or no .npz of maps ({error}): write it again")


# ---------------------------------------------------------------------------------------------------------------------
# Axes
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """The layout of a volume, after axes of length 1 are dropped.

    Attributes:
        shape: of the array without them.
        time: the axis of frames.
        channels: the axis of colour channels; None: there is none.
    """

    shape: tuple[int, ...]
    time: int
    channels: int | None = None


def volume_order(
    path: Path, shape: tuple[int, ...], frames: np.ndarray | None, expected: Expected, convention: str
) -> Order:
    """Returns which axis of a volume is time.

    Args:
        path: the file, for messages.
        shape: of the array.
        frames: its `frames`; their number must be that of the maps.
        expected: known properties of the video.
        convention: "nhw" or "hwn", the usual order of the kind of file.

    Raises:
        InputError: it is not a volume, or its time axis is ambiguous.
    """
    full, plain = shape, list(shape)
    while len(plain) > 3 and 1 in plain:
        plain.remove(1)
    channels = None
    if len(plain) == 4:
        channels = next((axis for axis in (3, 1, 2) if plain[axis] in (3, 4)), None)
    if len(plain) != (3 if channels is None else 4) or min(plain) < 1:
        raise InputError(f"{path} has maps of shape {full}: write [n, h, w]")
    axes = [axis for axis in range(len(plain)) if axis != channels]
    first = _time_first(path, tuple(plain[axis] for axis in axes), frames, expected, convention)
    return Order(tuple(plain), axes[0] if first else axes[-1], channels)


def _time_first(
    path: Path, shape: tuple[int, ...], frames: np.ndarray | None, expected: Expected, convention: str
) -> bool:
    lengths = {True: shape[0], False: shape[-1]}
    usual = convention == "nhw"
    if frames is not None:
        fitting = [first for first in (usual, not usual) if frames.shape == (lengths[first],)]
        if frames.dtype.kind not in "iu" or not fitting:
            raise InputError(
                f"{path} has {lengths[usual]} maps and `frames` of shape {frames.shape}: one whole number per map"
            )
    elif expected.num_frames is None:
        return usual
    else:
        fitting = [first for first in (usual, not usual) if lengths[first] == expected.num_frames]
    alike = [first for first in (usual, not usual) if _like_truth(shape[1:] if first else shape[:2], expected)]
    if len(fitting) == 1:
        return fitting[0]
    both = [first for first in fitting or alike if first in alike]
    if len(both) == 1:
        return both[0]
    if usual in fitting or (not fitting and lengths[usual] <= (expected.num_frames or 0)):
        return usual
    raise InputError(
        f"{path} has an array of shape {shape} for {expected.num_frames} frames, and the time axis is ambiguous: "
        "write [n, h, w], with `frames` in an .npz if n is a different number"
    )


def _like_truth(size: tuple[int, ...], expected: Expected) -> bool:
    if expected.size is None or min(size) < 1:
        return False
    return abs(math.log(size[1] / size[0] * expected.size[0] / expected.size[1])) <= _SAME_SHAPE


def _maps(
    path: Path,
    values: np.ndarray,
    frames: np.ndarray | None,
    expected: Expected,
    colour: str,
    notes: Counter[str],
    convention: str,
) -> Iterator[tuple[int, Num[np.ndarray, "h w"]]]:
    """Yields the maps of an array in memory or of a memory map."""
    _check_type(path, values.shape, values.dtype)
    order = volume_order(path, values.shape, frames, expected, convention)
    values = np.moveaxis(values.reshape(order.shape), order.time, 0)
    if order.channels is not None:
        values = np.moveaxis(values, order.channels + (order.channels < order.time), -1)
    if (order.time == 0) != (convention == "nhw"):
        notes["maps of a volume whose time axis is the " + ("last" if order.time else "first")] += len(values)
    for place, number in enumerate(_places(len(values), frames, expected)):
        one = np.asarray(values[place])
        if order.channels is not None:
            one = colours.grey(one, colour, f"{path}, map {place},", notes)
        yield number, _plain(one, notes)


def _places(length: int, frames: np.ndarray | None, expected: Expected) -> Sequence[int]:
    """Returns the frame of each map."""
    return range(length) if frames is None else [int(number) - expected.first for number in frames]


def _check_type(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if dtype.kind not in "fui":
        raise InputError(f"{path} has maps of shape {shape} and type {dtype}: write [n, h, w], floats or unsigned")


def _plain(values: Num[np.ndarray, "h w"], notes: Counter[str]) -> Num[np.ndarray, "h w"]:
    """Returns a map in native byte order; signed whole numbers, which have no defined scale, as floats."""
    if values.dtype.kind == "i":
        notes["maps of signed whole numbers, read as floats"] += 1
        return values.astype(np.float64)
    return np.ascontiguousarray(values, values.dtype.newbyteorder("="))
