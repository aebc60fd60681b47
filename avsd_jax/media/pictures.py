"""Reading of still pictures by Pillow, as they are displayed: upright, in RGB, without transparency."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from avsd_jax.common.wording import printable
from avsd_jax.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".gif", ".jp2", ".ppm", ".pgm")
"""Of files that are pictures, whatever is in them; of the forms that are read, others are recognised, too."""
_UNREAD = (".heic", ".heif", ".jxl", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf")
_TIFF = (".tif", ".tiff")
_FORMS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "JPEG2000")
# Forms of animations, and those that FFmpeg reads.
_MOVING = ("GIF", "PNG", "WEBP", "AVIF")
_VIDEOS = ("GIF", "PNG", "AVIF")
# JPEG has no longer sides, and so neither has an overlay.
_LONGEST = 65_500


class Picture(NamedTuple):
    """A picture as it is displayed.

    Attributes:
        image: RGB [height, width, 3].
        notes: what was changed that may affect the result unexpectedly.
    """

    image: UInt8[np.ndarray, "h w 3"]
    notes: tuple[str, ...]


def is_picture(path: Path) -> bool:
    """Returns whether a file is a picture by its name or contents, though it may be damaged or of a form not read."""
    suffix = path.suffix.lower()
    return suffix in SUFFIXES + _UNREAD or _form(path) is not None


def moves(path: Path) -> bool:
    """Returns whether a file of pictures is an animation, which FFmpeg may read as a video."""
    if _form(path) not in _VIDEOS:
        return False
    try:
        with _opened(path) as image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # Pillow's readers raise many types for damaged files
        return False


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    Image.init()  # its readers are found by name from then on
    # By an open file: of a name Pillow maps TIFF files into memory, and mixes up the rows of those that are turned.
    with path.open("rb") as file, Image.open(file, formats=[form for form in _FORMS if form in Image.OPEN]) as image:
        yield image


def _form(path: Path) -> str | None:
    """Returns Pillow's name of a file's form by its contents; None if it is none that is read."""
    try:
        with _opened(path) as image:
            form = image.format
    except Exception:  # Pillow's readers raise many types for damaged files
        return None
    # Cameras' raw files are TIFF by their contents, and hold a thumbnail.
    return None if form == "TIFF" and path.suffix.lower() not in _TIFF else form


def read_picture(path: str | Path) -> Picture:
    """Reads a picture: turned upright as its EXIF orientation says, 8 bits per channel, RGB.

    What is transparent is laid over white; of 16 bits the upper 8 are kept; CMYK is converted without a colour profile.
    Of a camera's JPEG with several images (MPO) the first one is read.

    Raises:
        InputError: it is missing, damaged, of a form that is not read, or an animation, or it has several pages, pixels
            without a known range, or a side that is too long.
    """
    path = Path(path)
    shown = printable(path)
    if path.suffix.lower() in _UNREAD:
        raise InputError(f"{shown} is of a kind that is not read: save it as JPEG or PNG")
    try:
        with _opened(path) as image:
            form, number = image.format, 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            if number == 1:
                image.load()
                # Before its mode changes, which may lose the orientation.
                upright = ImageOps.exif_transpose(image)
                mode, (rgb, notes) = image.mode, _rgb(upright, form)
    except FileNotFoundError as error:
        raise InputError(f"{shown} does not exist: give the path of a picture") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{shown} has more than {2 * Image.MAX_IMAGE_PIXELS} pixels: make it smaller") from error
    except Exception as error:  # Pillow's readers raise many types for damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(f"{shown} cannot be read ({error.strerror}): give a readable file") from error
        raise InputError(f"{shown} is damaged or no picture ({_reason(error)}): save it again") from error
    if number > 1:
        raise InputError(f"{shown} holds {number} images: {_fix_of_several(form)}")
    if rgb is None:
        raise InputError(f"{shown} has pixels of unknown range (mode {mode}): save it with 8 or 16 bits per channel")
    if max(rgb.shape) > _LONGEST:
        raise InputError(f"{shown} is {rgb.shape[1]}x{rgb.shape[0]}: make its sides at most {_LONGEST} pixels long")
    return Picture(rgb, notes)


def _fix_of_several(form: str) -> str:
    if form in _VIDEOS:
        return "predict it alone, as a video"
    return "save it as a GIF or a video" if form in _MOVING else "save each page as a file of its own"


def _reason(error: Exception) -> str:
    # Pillow's message for a file that it does not recognise repeats the path.
    return "its contents are not recognised" if "cannot identify" in str(error) else str(error) or type(error).__name__


def _rgb(image: Image.Image, form: str) -> tuple[UInt8[np.ndarray, "h w 3"] | None, tuple[str, ...]]:
    """Returns the pixels in RGB, and notes; None if their range is unknown."""
    if image.mode.startswith("I"):
        # Older versions of Pillow open PNGs of 16 bits as 32-bit numbers, and all versions PGM files.
        if image.mode == "I" and form not in ("PNG", "PPM"):
            return None, ()
        grey = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, 2), ("of 16 bits the upper 8 are used",)
    if image.mode == "F":
        return None, ()
    notes = ("CMYK is converted without its colour profile",) if image.mode == "CMYK" else ()
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            notes += ("what is transparent is laid over white",)
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB")), notes
