"""Reader of saliency maps from a grey video: frame k is the map of the video's frame k."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16

from avsd_jax.errors import InputError
from avsd_jax.map_files import colour as colours

SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v")


def read_video(
    path: Path, num_frames: int | None, colour: str, notes: Counter[str]
) -> Iterator[tuple[int, UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"]]]:
    """Yields (frame, map), decoded by PyAV: 8 bits, or 16 of grey videos of more than 8.

    Args:
        path: the file.
        num_frames: number of frames of the video that the maps belong to; None: unknown.
        colour: how maps in colour are read, as `colour.check_rule` takes it.
        notes: counts the conversions that are reported.

    Raises:
        InputError: it is damaged, in colour, or does not have exactly `num_frames` frames: a dropped or duplicated
            frame would shift all later ones.
    """
    from avsd_jax.media import reading  # PyAV takes a while to import, and few folders hold videos

    count = 0
    deep = reading.read_levels(path) if reading.bits_per_level(path) > 8 else itertools.repeat(None)
    for frame, levels in zip(reading.read_frames(path), deep, strict=False):
        if num_frames is None or frame.index < num_frames:
            if levels is not None and colours.is_grey(frame.image):
                yield frame.index, levels
            else:
                yield frame.index, colours.grey(frame.image, colour, f"{path}, frame {frame.index},", notes)
        count += 1
    if num_frames not in (None, count):
        raise InputError(
            f"{path} has {count} frames, and its video {num_frames}: write exactly one map per frame, or numbered "
            "images"
        )
    notes["maps decoded from a video, whose codec may have changed their levels"] += count
