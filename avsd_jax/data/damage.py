"""Damage inside of images and videos: found by decoding them, counted, and refused beyond a tolerance.

Headers and file ends say nothing of what lies between. What a decoder conceals would become data.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# Share of a video's frames that may be damaged: more is refused, fewer are named.
TOLERANCE = 0.01


@dataclass(frozen=True)
class VideoDamage:
    """What decoding a whole video file finds.

    Attributes:
        stated: number of frames as the container states it; None where it does not.
        decoded: number of frames that can be decoded, as `media.read_frames` yields them.
        damaged: numbers, from 1, of the decoded frames that are damaged, or that follow from damaged ones.
    """

    stated: int | None
    decoded: int
    damaged: tuple[int, ...]


def check_image(path: Path) -> None:
    """Decodes an image file (JPEG or PNG) whole.

    Raises:
        InputError: it cannot be read, is not an image, or is damaged inside.
    """
    raise NotImplementedError


def check_images(paths: Iterable[Path]) -> tuple[str, ...]:
    """Decodes the images of one video; returns sentences (notes) that count and name damaged ones.

    Raises:
        InputError: a file cannot be read or is not an image; or more than `TOLERANCE` of them are damaged.
    """
    raise NotImplementedError


def look_through(path: Path) -> VideoDamage:
    """Decodes a video file whole: in the place of `media.count_frames` where damage is of interest.

    Raises:
        InputError: it cannot be read, or has no frame that can be decoded.
    """
    raise NotImplementedError


def check_video(path: Path) -> tuple[str, ...]:
    """Decodes a video file whole; returns sentences (notes) that count and name damaged frames.

    Raises:
        InputError: as `look_through`; or more than `TOLERANCE` of the frames are damaged.
    """
    raise NotImplementedError
