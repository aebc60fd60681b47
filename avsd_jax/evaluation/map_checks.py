"""Checks of a video's predicted maps while they are scored: invalid values are refused, other problems counted.

A map without a value of a metric is omitted from its mean, so that a broken model looks no worse. Maps that are
constant, negative or of a different shape than their video are therefore counted, and reported with the scores.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Num

from avsd_jax.errors import InputError
from avsd_jax.metrics.maps import CONSTANT_FLOAT32, CONSTANT_FLOAT64

# Logarithms of aspect ratios: below the first, two shapes are the same; above the second, a shape is not square.
_SAME_SHAPE, _OBLONG = 0.03, 0.1
_MOST_VIDEOS = 4


class MapChecks:
    """Checks the maps of one video.

    Args:
        video: its id.
        num_frames: its number of frames.
        size: (height, width) of its ground truth.
    """

    def __init__(self, video: str, num_frames: int, size: tuple[int, int]):
        self.notes: Counter[str] = Counter()
        self._video, self._num_frames, self._size = video, num_frames, size
        self._seen: set[int] = set()
        self._constant: list[int] = []
        self._negative: list[int] = []
        self._outside = 0
        self._shapes: Counter[tuple[int, int]] = Counter()

    def see(self, frame: int, values: Num[np.ndarray, "h w"]) -> bool:
        """Checks one map; returns whether its frame is in the video.

        Raises:
            InputError: the frame already had a map, or the map is not finite.
        """
        if frame in self._seen:
            raise InputError(f"the predictions of video {self._video!r} have frame {frame} twice: keep one")
        self._seen.add(frame)
        # A NaN would be dropped from every mean: a broken model must not look better because of it.
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(
                f"the prediction of video {self._video!r}, frame {frame}, has values that are not finite: write "
                "finite maps"
            )
        if not 0 <= frame < self._num_frames:
            self._outside += 1
            return False
        self._shapes[values.shape] += 1
        low, high = float(values.min()), float(values.max())
        tolerance = CONSTANT_FLOAT64 if values.dtype == np.float64 else CONSTANT_FLOAT32
        if high - low <= tolerance * max(abs(low), abs(high)):
            self._constant.append(frame)
        if low < 0:
            self._negative.append(frame)
        return True

    def as_record(self) -> dict[str, Any]:
        """Returns the results as plain values: `outside`, frames of `constant` and `negative` maps, counts by size
        of maps that are `upright`, `stretched` (of a different shape) or `turned`, and counts of `conversions`."""
        truth = math.log(self._size[1] / self._size[0])
        shapes: dict[str, dict[str, int]] = {"upright": {}, "stretched": {}, "turned": {}}
        for (height, width), number in self._shapes.items():
            shape = math.log(width / height)
            turned = abs(shape + truth) < _SAME_SHAPE and abs(truth) > _OBLONG
            kind = "turned" if turned else "upright" if abs(shape - truth) < _SAME_SHAPE else "stretched"
            shapes[kind][f"{height}x{width}"] = number
        return {
            "outside": self._outside,
            "constant": sorted(self._constant),
            "negative": sorted(self._negative),
            **shapes,
            "conversions": dict(self.notes),
        }


def check_upright(seen: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses maps whose axes are swapped.

    Maps of the same size for all videos, as some networks write them, are accepted although they are turned for
    portrait videos and upright for the others.

    Args:
        seen: video -> what `MapChecks.as_record` says.

    Raises:
        InputError: maps have the shape of their video with swapped axes, and no other video has upright ones of that
            size.
    """
    upright = {size for record in seen.values() for size in record["upright"]}
    for video, record in seen.items():
        for size in record["turned"]:
            if size not in upright:
                raise InputError(
                    f"the predictions of video {video!r} are {size} (height x width), the shape of their video with "
                    "swapped axes: write maps [height, width]"
                )


def remarks(seen: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns notes on the maps of all videos, as sentences.

    Args:
        seen: video -> what `MapChecks.as_record` says.
    """
    said = []
    outside = {video: record["outside"] for video, record in seen.items() if record["outside"]}
    if outside:
        each = [f"{number} of video {video}" for video, number in list(outside.items())[:_MOST_VIDEOS]]
        said.append(
            f"maps beyond the video's frames (past the end, or before the start) are ignored: {', '.join(each)}"
            f"{_rest(outside)}; is it a different cut of the video, or a different --first_frame?"
        )
    reasons = {
        "constant": "constant maps, for which most metrics do not exist",
        "negative": (
            "maps with negative values, for which KL does not exist (logits or log-densities? write densities: exp, "
            "softmax or sigmoid first)"
        ),
    }
    for kind, words in reasons.items():
        frames = {video: record[kind] for video, record in seen.items() if record[kind]}
        if frames:
            said.append(f"{sum(map(len, frames.values()))} {words}: {where(frames)}")
    shapes: Counter[str] = Counter()
    conversions: Counter[str] = Counter()
    for record in seen.values():
        shapes.update(record["stretched"])
        shapes.update(record["turned"])
        conversions.update(record["conversions"])
    said += [
        f"{number} maps of {size} (height x width) are resized to the shape of their video"
        for size, number in shapes.items()
    ]
    said += [f"{number} {what}" for what, number in conversions.items()]
    kinds = ("upright", "stretched", "turned")
    if several := [video for video, record in seen.items() if sum(len(record[kind]) for kind in kinds) > 1]:
        said.append(
            f"maps of several sizes in video {', '.join(several[:_MOST_VIDEOS])}{_rest(dict.fromkeys(several))}"
        )
    return said


def where(frames: Mapping[str, Sequence[int]]) -> str:
    """Lists frames in words, of at most a few videos."""
    parts = [f"{video}, frames {ranges(numbers)}" for video, numbers in list(frames.items())[:_MOST_VIDEOS]]
    return "; ".join(parts) + _rest(frames)


def _rest(by_video: Mapping[str, Any]) -> str:
    return f", ... ({len(by_video)} videos)" if len(by_video) > _MOST_VIDEOS else ""


def ranges(numbers: Sequence[int], most: int = 8) -> str:
    """Formats ascending numbers, as in "0-7, 12", with at most `most` runs."""
    edges = np.flatnonzero(np.diff(numbers) > 1) + 1
    runs = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in np.split(np.asarray(numbers), edges)]
    return ", ".join(runs[:most]) + (", ..." if len(runs) > most else "")
