"""A cheap look at numbered pictures: their headers and ends, not what lies between, which only decoding tells."""

from pathlib import Path

from PIL import Image

from avsd_jax.data import picture_files, plausible
from avsd_jax.data.source import Findings
from avsd_jax.errors import InputError

_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_TAIL = 64  # some writers fill up behind the end of a JPEG file


def size(path: Path) -> tuple[int, int]:
    """Size (height, width) of a picture, from its header; of a PNG file the checksums are compared, too.

    Raises:
        InputError: it cannot be read, is a link, empty, cut short or no picture, or has an implausible size.
    """
    if path.is_symlink():
        raise InputError(f"{path} is a link, which is not followed: put the files themselves there")
    try:
        length = path.stat().st_size
        if not length:
            raise InputError(f"{path} is empty: it is not a picture; restore the file")
        with path.open("rb") as file:
            if file.read(len(_JPEG)) == _JPEG:
                file.seek(max(0, length - _TAIL))
                if _JPEG_END not in file.read():
                    raise InputError(f"{path} is cut short: restore the file")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): put it there, readable") from error
    return plausible.checked_size(_size(path), path)


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            if image.format == "PNG":
                image.verify()
            return image.size[::-1]
    except Image.UnidentifiedImageError:
        return picture_files.frame_size(path)  # what OpenCV reads and Pillow does not, or the words for what is wrong
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} has a header that cannot be true ({error}): restore the file") from error
    except (OSError, SyntaxError, ValueError) as error:  # as Pillow raises them on damaged files
        raise InputError(f"{path} is a damaged picture ({error}): restore the file") from error


def look(paths: tuple[Path, ...], kind: str, findings: Findings) -> tuple[int, int] | None:
    """Size (height, width) of a video's pictures: the first good one's, which all must have.

    Args:
        paths: the pictures.
        kind: what they are, such as "frames", for messages.
        findings: takes what is wrong with each.

    Returns:
        The size; None if no picture is good.
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
