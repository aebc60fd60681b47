"""The timeline of a prediction: `timeline.json`, frame by frame, and a plot of it.

Both are written while the video is decoded: the record row by row, and the curve in a bounded number of bins, so that
memory does not grow with the length of the video.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from avsd_jax.prediction.drawing import BAND, CURVE, FAINT, INK, SCALE, Pen, clock, time_ticks

MAX_BINS = 2048
_WIDTH, _HEIGHT = 1200, 340
_BOX = (70.0, 64.0, 1180.0, 290.0)
_OPEN = "#d9f2e0"


class TimelineWriter:
    """Writes `timeline.json`: the header's fields, `frames` with one row per line, the footer's fields.

    Args:
        path: the file.
        header: the first fields.
        rows: name of the field that holds the rows.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], rows: str = "frames"):
        self._file = path.open("w")
        opened = json.dumps(dict(header), indent=2)
        self._file.write(opened.removesuffix("\n}") + f',\n  "{rows}": [')
        self._separator = "\n    "

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends a frame's row."""
        self._file.write(self._separator + json.dumps(dict(row)))
        self._separator = ",\n    "

    def finish(self, footer: Mapping[str, Any]) -> None:
        """Completes the record and closes the file."""
        closed = json.dumps(dict(footer), indent=2)
        self._file.write("\n  ],\n" + closed.removeprefix("{\n") + "\n")
        self._file.close()

    def close(self) -> None:
        """Closes the file without completing it."""
        self._file.close()


@dataclass
class Bin:
    """A range of frames: its first time, their number, how many used the audio, and their probabilities."""

    time: float
    count: int = 0
    opened: int = 0
    total: float = 0.0
    low: float = 1.0
    high: float = 0.0

    def merge(self, other: "Bin") -> None:
        """Merges the next range."""
        self.count += other.count
        self.opened += other.opened
        self.total += other.total
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)


class Curve:
    """A probability over time in at most `MAX_BINS` bins, whose length doubles when they are full."""

    def __init__(self) -> None:
        self.bins: list[Bin] = []
        self._frames_per_bin = 1

    def append(self, time: float, probability: float, opened: bool) -> None:
        """Adds a frame."""
        frame = Bin(time, 1, int(opened), probability, probability, probability)
        if self.bins and self.bins[-1].count < self._frames_per_bin:
            self.bins[-1].merge(frame)
            return
        if len(self.bins) == MAX_BINS:
            for left, right in zip(self.bins[::2], self.bins[1::2], strict=True):
                left.merge(right)
            del self.bins[1::2]
            self._frames_per_bin *= 2
        self.bins.append(frame)


def draw(path: Path, curve: Curve, title: str, remark: str, seconds: float) -> None:
    """Draws the curve of the probability of audio-visual consistency, shaded where the audio was used.

    Args:
        path: PNG to write.
        curve: the probabilities; without frames the axes are empty.
        title: headline.
        remark: line below it, in words.
        seconds: length of the video.
    """
    picture = Image.new("RGB", (_WIDTH * SCALE, _HEIGHT * SCALE), "white")
    pen = Pen(ImageDraw.Draw(picture))
    left, top, right, bottom = _BOX

    def x(time: float) -> float:
        return left + (right - left) * min(1.0, time / seconds)

    def y(probability: float) -> float:
        return bottom - (bottom - top) * probability

    pen.text((left, 12.0), title if len(title) <= 110 else f"{title[:107]}...", 17, INK, "la")
    pen.text((left, 37.0), remark, 13, "#55555c", "la")
    bins = curve.bins
    ends = [*(b.time for b in bins[1:]), seconds][: len(bins)]
    for piece, stop in zip(bins, ends, strict=True):
        if 2 * piece.opened >= piece.count:
            pen.box((x(piece.time), top, x(stop), bottom), _OPEN)
    for piece, stop in zip(bins, ends, strict=True):
        if piece.high > piece.low:
            pen.box((x(piece.time), y(piece.high), x(stop), y(piece.low)), BAND)
    for level in (0.0, 0.5, 1.0):
        pen.line([(left, y(level)), (right, y(level))], 1, FAINT)
        pen.text((left - 10, y(level)), f"{level:.1f}", 13, INK, "rm")
    for time in time_ticks(seconds):
        pen.line([(x(time), bottom), (x(time), bottom + 5)], 1, INK)
        pen.text((x(time), bottom + 10), clock(time, seconds), 13, INK, "ma")
    pen.line([(left, top), (left, bottom), (right, bottom)], 1, INK)
    points = [((x(b.time) + x(stop)) / 2, y(b.total / b.count)) for b, stop in zip(bins, ends, strict=True)]
    if points:
        points = [(left, points[0][1]), *points, (x(seconds), points[-1][1])]
        pen.line(points, 2, CURVE)
    picture.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS).save(path)
