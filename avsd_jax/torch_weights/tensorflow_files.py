"""Reader of TensorFlow's checkpoints, PREFIX.index and PREFIX.data-00000-of-00001, by their format.

The index is a sorted table as LevelDB's: blocks of keys, each but its first ones without the part that it shares with
the key before, and a block of the blocks' places, whose own place is in the last 48 bytes. A block may be compressed
by Snappy. A value is a protocol buffer: type and shape of a variable, and where its numbers are in which data file. The
checksums (CRC-32C) are not checked.
"""

import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np

from avsd_jax.errors import InputError

_MAGIC = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
_FOOTER = 48
_DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")
# TensorFlow's numbers of types; others, such as text, are no weights.
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 17: "<u2", 19: "<f2", 22: "<u4"}
_DTYPES |= {23: "<u8", 14: ml_dtypes.bfloat16}


def index_of(path: Path) -> Path | None:
    """Returns the index of the checkpoint that a path names: itself, a data file, or the prefix; None if none."""
    if path.name.endswith(".index"):
        return path
    index = path.with_name(_DATA.sub("", path.name) + ".index")
    return index if (_DATA.search(path.name) or not path.exists()) and index.is_file() else None


def read(index: Path) -> dict[str, np.ndarray]:
    """Reads the variables of a checkpoint; they are memory-mapped, so that only used ones are read from disk.

    Args:
        index: PREFIX.index; the data files are beside it.

    Returns:
        {name: array}, in the names "." for "/".

    Raises:
        InputError: it is no index, or damaged; a data file is missing or too short; or a variable is stored in pieces.
    """
    content = index.read_bytes()
    if len(content) < _FOOTER or content[-8:] != _MAGIC:
        raise InputError(f"{index} is no index of a TensorFlow checkpoint, or is incomplete: download it again")
    try:
        entries = dict(_table(content))
        header = _message(entries.pop(b""))
        variables = {key.decode(): _message(value) for key, value in entries.items()}
        return _arrays(index, header.get(1, [1])[0], variables)
    except InputError:
        raise
    except (IndexError, KeyError, OverflowError, TypeError, ValueError, struct.error) as error:
        raise InputError(f"{index} is a damaged TensorFlow checkpoint: download it again") from error


def _arrays(index: Path, shards: int, variables: dict[str, dict[int, list]]) -> dict[str, np.ndarray]:
    prefix = index.name.removesuffix(".index")
    arrays: dict[str, np.ndarray] = {}
    files: dict[int, np.ndarray] = {}
    for name, entry in variables.items():
        if entry.get(7):
            raise InputError(f"{index}: {name!r} is stored in pieces: save the checkpoint without partitions")
        kind = _DTYPES.get(entry[1][0])
        if kind is None:
            continue
        shard, offset, size = (entry.get(field, [0])[0] for field in (3, 4, 5))
        shape = tuple(_message(dim).get(1, [0])[0] for dim in _message(entry.get(2, [b""])[0]).get(2, []))
        if shard not in files:
            data = index.with_name(f"{prefix}.data-{shard:05d}-of-{shards:05d}")
            if not data.is_file():
                raise InputError(f"{data} is missing: put it beside {index.name}")
            files[shard] = np.memmap(data, np.uint8, "r") if data.stat().st_size else np.zeros(0, np.uint8)
        numbers = files[shard][offset : offset + size]
        if len(numbers) < size:
            raise InputError(f"the data file of {index.name} ends before {name!r}: download it again")
        if math.prod(shape) * np.dtype(kind).itemsize != size:
            raise ValueError(name)
        arrays[name.replace("/", ".")] = numbers.view(kind).reshape(shape)
    return arrays


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the keys and values of a sorted table."""
    at = len(content) - _FOOTER
    for _ in range(2):  # the place of an unused block
        _, at = _varint(content, at)
    for _, place in _block(content, *_place(content, at)):
        yield from _block(content, *_place(place, 0))


def _place(data: bytes, at: int) -> tuple[int, int]:
    """Returns start and size of a block."""
    start, at = _varint(data, at)
    return start, _varint(data, at)[0]


def _block(content: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yields the keys and values of one block."""
    block, kind = content[start : start + size], content[start + size]
    if len(block) < size or kind not in (0, 1):
        raise ValueError("block")
    if kind == 1:
        block = _unsnapped(block)
    end, at, key = len(block) - 4 * (1 + struct.unpack_from("<I", block, len(block) - 4)[0]), 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _unsnapped(data: bytes) -> bytes:
    """Returns what Snappy has compressed: pieces as they are, and copies of what came before."""
    size, at = _varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag, at = data[at], at + 1
        kind, length = tag & 3, (tag >> 2) + 1
        if kind == 0:
            extra = max(0, length - 60)  # bytes of a longer length
            if extra:
                length = 1 + int.from_bytes(data[at : at + extra], "little")
            out += data[at + extra : at + extra + length]
            at += extra + length
            continue
        width = (0, 1, 2, 4)[kind]
        back = int.from_bytes(data[at : at + width], "little")
        if kind == 1:
            back, length = back + (tag >> 5 << 8), (tag >> 2 & 7) + 4
        at += width
        if not 0 < back <= len(out):
            raise ValueError("copy")
        for _ in range(length):
            out.append(out[-back])
    if len(out) != size:
        raise ValueError("length")
    return bytes(out)


def _message(data: bytes) -> dict[int, list]:
    """Returns the fields of a protocol buffer: whole numbers, and bytes of those with a length."""
    fields: dict[int, list] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
        else:
            length, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = data[at : at + length], at + length
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Returns a number of a variable length, and where it ends."""
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
