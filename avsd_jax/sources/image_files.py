"""Numbered images in a folder, such as `img_00001.jpg`: checked for gaps and damage.

A JPEG file is stored unchanged. Its first and last bytes show whether it is complete, and its header the size; the
data between is checked by decoding at 1/8 of the size (`avsd_jax.sources.damage`).
"""

import functools
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from absl import logging
from jaxtyping import UInt8
from PIL import Image

from avsd_jax.common import safe_paths
from avsd_jax.data import schema
from avsd_jax.errors import InputError
from avsd_jax.sources import damage, plausible
from avsd_jax.sources.base import MissingFile

_START, _END = b"\xff\xd8", b"\xff\xd9"
# Some writers pad after the end of the image.
_TAIL = 64
# Marker codes that begin a frame header; C4, C8 and CC are tables.
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# The largest difference between the channels of a grey pixel, in levels: JPEG leaves noise.
_GREY_GAP = 8
_SHOWN = 5
IMAGES = r"\.(?:jpg|jpeg|png)"


def numbered(folder: Path, stem: str, suffix: str = IMAGES) -> tuple[Path, ...]:
    """Returns the files `<stem>_00001`, `<stem>_00002`, ... of a folder, in order.

    Args:
        folder: of the files.
        stem: beginning of their names, such as "img".
        suffix: pattern of the end of their names.

    Raises:
        MissingFile: there is no such folder, no such file, or a number is missing.
        InputError: a number is duplicated, the count does not begin with 1, or a file is a link.
    """
    pattern = _pattern(stem, suffix)
    if not folder.is_dir():
        raise MissingFile(f"{folder} is missing: put the folder with {stem}_00001, ... there")
    found = sorted(
        (int(match[1]), match[0]) for name in safe_paths.file_names(folder) if (match := pattern.fullmatch(name))
    )
    if not found:
        raise MissingFile(f"{folder} has no file {stem}_00001, ...: put them there")
    for expected, (number, name) in enumerate(found, 1):
        if number < expected:
            raise InputError(f"{folder / name} has the number of another file, or 0: count every file once, from 1")
        if number > expected:
            raise MissingFile(f"{folder} lacks {stem}_{expected:05d} (but has {name}): restore it")
    return tuple(folder / name for _, name in found)


@functools.cache
def _pattern(stem: str, suffix: str) -> re.Pattern[str]:
    return re.compile(rf"{stem}_(\d+){suffix}", re.IGNORECASE)


def read_bytes(path: Path) -> bytes:
    """Reads a file of a folder listing.

    Raises:
        InputError: it cannot be read, or is a link.
    """
    if path.is_symlink():
        raise InputError(f"{path} is a link, which is not followed: put the files themselves there")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): put it there, readable") from error


def frame_size(path: Path) -> tuple[int, int]:
    """Returns the size (height, width) of the JPEG file that `jpeg` makes of an image.

    Raises:
        InputError: as `jpeg`.
    """
    data = jpeg(path)
    return _jpeg_size(data, path)


def jpegs(paths: tuple[Path, ...], size: tuple[int, int]) -> Iterator[bytes]:
    """Yields images as JPEG files, unchanged if they are JPEG.

    Args:
        paths: the images.
        size: (height, width) of all.

    Raises:
        InputError: a file cannot be read or decoded, or has a different size; or more of them are damaged inside than
            `damage.TOLERANCE`.
    """
    tally = damage.Tally(len(paths), "frames")
    for path in paths:
        data = jpeg(path)
        found = _jpeg_size(data, path)
        if found != size:
            raise InputError(
                f"{path} has {found[1]}x{found[0]} pixels, the frames before it {size[1]}x{size[0]}: write all frames "
                "of a video in one size"
            )
        tally.look(path, data)
        yield data
    tally.end()


def jpeg(path: Path) -> bytes:
    """Returns an image as a JPEG file, unchanged if it is one.

    Raises:
        InputError: it cannot be read, or is damaged.
    """
    data = read_bytes(path)
    if data.startswith(_START):
        if _END not in data[-_TAIL:]:
            raise InputError(f"{path} is truncated: restore the file")
        return data
    image = _decoded(data, path, cv2.IMREAD_COLOR)
    return schema.encode_jpeg(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def _decoded(data: bytes, path: Path, flags: int) -> UInt8[np.ndarray, "..."]:
    """Decodes an image after checking the size in its header, so that no memory is allocated for an implausible one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                plausible.checked_size(image.size[::-1], path)
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} has an implausible header ({error}): restore the file") from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's exceptions
        if isinstance(error, InputError):
            raise
        # OpenCV may support formats that Pillow does not.
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:  # a size in the header beyond OpenCV's limit
        image = None
    if image is None:
        raise InputError(f"{path} is not an image, or a damaged one: restore the file")
    return image


def _jpeg_size(data: bytes, path: Path) -> tuple[int, int]:
    """Reads the size from the header: segments follow each other until the one that describes the image."""
    at = len(_START)
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAME_HEADERS:
            height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            if height and width:
                return plausible.checked_size((height, width), path)
            break
        # A marker may be preceded by any number of FF bytes.
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise InputError(f"{path} has a damaged header: restore the file")


def grey(path: Path, tally: damage.Tally | None = None) -> UInt8[np.ndarray, "h w"]:
    """Reads an image as 8-bit grey, with Pillow's weights if it is in colour, which is logged.

    Args:
        path: the file.
        tally: counts it if it is damaged inside, and refuses too many.

    Raises:
        InputError: it cannot be read, or is damaged.
    """
    data = read_bytes(path)
    if data.startswith(_START) and _END not in data[-_TAIL:]:
        raise InputError(f"{path} is truncated: restore the file")
    if tally is not None:
        tally.look(path, data)
    image = _decoded(data, path, cv2.IMREAD_ANYCOLOR)
    if image.ndim == 2:
        return image
    if int((image.max(-1) - image.min(-1)).max()) > _GREY_GAP:
        logging.log_first_n(
            logging.WARNING,
            "%s is in colour: its luminance is used, which is wrong for a heat map (put one grey channel there)",
            _SHOWN,
            path,
        )
    return np.asarray(Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).convert("L"))


def is_empty(path: Path) -> bool:
    """Returns whether a grey image is zero everywhere.

    Raises:
        InputError: it cannot be read, or is damaged.
    """
    # At 1/8 of the size, which JPEG decodes several times faster; images that are black there are decoded fully.
    try:
        small = _decoded(read_bytes(path), path, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except InputError:
        small = None
    return not (small is not None and small.any()) and not grey(path).any()
