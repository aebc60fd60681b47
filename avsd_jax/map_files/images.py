"""Saliency maps in image files: 8 or 16 bits, or floats, as one grey channel."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Num
from PIL import Image

from avsd_jax.errors import InputError
from avsd_jax.map_files import colour as colours

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
"""Image files that are always read."""
OTHER_SUFFIXES = (".tif", ".tiff", ".webp", ".pgm", ".gif")
"""Image files that are read with --other_forms=read."""

_EXIF_ORIENTATION = 0x0112
_BIT_DEPTH = 24  # byte of a PNG file


def read_image(path: Path, colour: str = colours.REFUSE, notes: Counter[str] | None = None) -> Num[np.ndarray, "h w"]:
    """Returns the grey channel of an image: uint8, uint16 if it has 16 bits, or floats.

    Args:
        path: the file.
        colour: how maps in colour are read, as `colour.check_rule` takes it.
        notes: counts the conversions that are reported.

    Raises:
        InputError: it is damaged, holds several images, is in colour, rotated, partly transparent, or of a kind without
            levels; the message names it.
    """
    notes = Counter() if notes is None else notes
    try:
        with Image.open(path) as image:
            several, turned = getattr(image, "n_frames", 1), image.getexif().get(_EXIF_ORIENTATION, 1)
            values = _decoded(image, path, notes)
    # Exceptions of Pillow for damaged files, by format; OSError also if the file cannot be read.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is damaged or not an image ({error}): write it again") from error
    if several > 1:
        raise InputError(f"{path} holds {several} images: write one file per frame")
    if turned not in (0, 1):
        raise InputError(f"{path} has an EXIF orientation, so it may be rotated: write it without")
    if not values.size:
        raise InputError(f"{path} has no pixels: write it again")
    if values.ndim == 3:
        values = colours.grey(values, colour, str(path), notes)
    return _as_levels(values, path)


def _decoded(image: Image.Image, path: Path, notes: Counter[str]) -> np.ndarray:
    """Returns the pixels, [h, w] or [h, w, channels]."""
    deep = image.format == "PNG" and image.mode in ("RGB", "RGBA", "LA") and _bits(path) == 16
    if image.mode == "1":
        notes["images of 1 bit"] += 1
        image = image.convert("L")
    elif image.mode in ("P", "PA"):  # an index of a palette is not a level
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa", "La"):
        notes[f"{image.mode} images read as RGB"] += 1
        image = image.convert("LA" if image.mode == "La" else "RGBA" if image.mode == "RGBa" else "RGB")
    values = np.asarray(image)
    if not deep:
        return values
    # With several channels Pillow keeps 8 of 16 bits; OpenCV keeps all, blue first.
    full = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if full is None or full.dtype != np.uint16:
        raise ValueError("its 16 bits cannot be read")
    return full if full.ndim == 2 else full[..., [2, 1, 0, 3][: full.shape[2]]]


def _bits(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(_BIT_DEPTH + 1)[-1]


def _as_levels(values: np.ndarray, path: Path) -> Num[np.ndarray, "h w"]:
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    if values.dtype == np.int32 and values.min() >= 0 and values.max() <= 65535:
        return values.astype(np.uint16)  # older versions of Pillow open 16-bit PNGs like this
    if values.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        raise InputError(f"{path} has pixels of type {values.dtype}: write maps as images of 8 or 16 bits, or floats")
    return values
