"""A cheap look at numbered images: their sizes and whether they are whole; what lies between only decoding tells."""

import io
import struct
from pathlib import Path

from PIL import Image

from avsd_jax.errors import InputError
from avsd_jax.sources import image_files, plausible
from avsd_jax.sources.base import Findings

_PNG = b"\x89PNG\r\n\x1a\n"


def size(path: Path) -> tuple[int, int]:
    """Size (height, width) of an image; of a JPEG file the header and the end are looked at, of PNG all checksums.

    Raises:
        InputError: it cannot be read, is a link, empty, cut short or no image, or has an implausible size.
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
        raise InputError(f"{path} has a header that cannot be true ({error}): restore the file") from error
    except (OSError, SyntaxError, ValueError, struct.error) as error:  # as Pillow raises them on damaged files
        raise InputError(f"{path} is a damaged image ({error}): restore the file") from error


def look(paths: tuple[Path, ...], kind: str, findings: Findings) -> tuple[int, int] | None:
    """Size (height, width) of a video's images: the first good one's, which all must have.

    Args:
        paths: the pictures.
        kind: what they are, such as "frames", for messages.
        findings: takes what is wrong with each.

    Returns:
        The size; None if no image is good.
    """
    first: list[tuple[int, int]] = []

    def one(path: Path) -> None:
        found = size(path)
        first.append(found) if not first else None
        if found != first[0]:
            (height, width), (first_height, first_width) = found, first[0]
            raise InputError(
                f"{path} has {width}x{height} pixels, the {kind} before it {first_width}x{first_height}: bring all "
                f"{kind} of a video to one size"
            )

    findings.each(paths, one)
    return first[0] if first else None
