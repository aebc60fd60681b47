"""Cheap inspection of numbered images: their sizes and whether they are complete, without decoding."""

import io
import struct
from pathlib import Path

from PIL import Image

from avsd_jax.errors import InputError
from avsd_jax.sources import image_files, plausible
from avsd_jax.sources.base import Findings

_PNG = b"\x89PNG\r\n\x1a\n"


def size(path: Path) -> tuple[int, int]:
    """Returns the size (height, width) of an image; checks header and end of JPEG files, and all checksums of PNG.

    Raises:
        InputError: it cannot be read, is a link, empty, truncated or not an image, or has an implausible size.
    """
    data = image_files.read_bytes(path)
    if not data:
        raise InputError(f"{path} is empty: it is not an image; restore the file")
    if not data.startswith(_PNG):
        return image_files.frame_size(path)
    try:
        with Image.open(io.BytesIO(data)) as image:
            plausible.checked_size(image.size[::-1], path)
            image.verify()
            return image.size[::-1]
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} has an implausible header ({error}): restore the file") from error
    except (OSError, SyntaxError, ValueError, struct.error) as error:  # Pillow's exceptions for damaged files
        raise InputError(f"{path} is a damaged image ({error}): restore the file") from error


def look(paths: tuple[Path, ...], kind: str, findings: Findings) -> tuple[int, int] | None:
    """Returns the size (height, width) of a video's images: that of the first valid one, which all must have.

    Args:
        paths: the images.
        kind: of images, such as "frames", for messages.
        findings: collects the problems.

    Returns:
        The size; None if no image is valid.
    """
    first: list[tuple[int, int]] = []

    def one(path: Path) -> None:
        found = size(path)
        first.append(found) if not first else None
        if found != first[0]:
            (height, width), (first_height, first_width) = found, first[0]
            raise InputError(
                f"{path} has {width}x{height} pixels, the {kind} before it {first_width}x{first_height}: write all "
                f"{kind} of a video in one size"
            )

    findings.each(paths, one)
    return first[0] if first else None
