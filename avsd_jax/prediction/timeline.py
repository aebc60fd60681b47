"""The timeline of a prediction: `timeline.json`, frame by frame, and a plot of it.

Both are written while the video is decoded: the record row by row, and the curve in a bounded number of bins, so that
memory does not grow with the length of the video.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

MAX_BINS = 2048
_WIDTH, _HEIGHT = 1200, 340
_BOX = (70.0, 64.0, 1180.0, 290.0)
_SCALE = 2  # drawn larger and reduced: Pillow does not antialias lines
_INK, _FAINT, _CURVE, _BAND, _OPEN = "#202024", "#c8c8d0", "#1f5fb4", "#b9d0ee", "#d9f2e0"


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


def _time_ticks(seconds: float) -> list[float]:
    """Returns about eight round times."""
    small = [m * 10.0**e for e in (-2, -1, 0) for m in (1, 2, 5)]
    large = [10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0]
    step = next((s for s in small + large if seconds / s <= 9), 7200.0 * (1 + seconds // (9 * 7200)))
    return [i * step for i in range(int(seconds / step) + 1)]


def _clock(seconds: float, last: float) -> str:
    if last < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if last >= 3600 else f"{minutes}:{rest:02d}"


def draw(path: Path, curve: Curve, title: str, remark: str, seconds: float) -> None:
    """Draws the curve of the probability of audio-visual consistency, shaded where the audio was used.

    Args:
        path: PNG to write.
        curve: the probabilities; without frames the axes are empty.
        title: headline.
        remark: line below it, in words.
        seconds: length of the video.
    """
    picture = Image.new("RGB", (_WIDTH * _SCALE, _HEIGHT * _SCALE), "white")
    pen = _Pen(ImageDraw.Draw(picture))
    left, top, right, bottom = _BOX

    def x(time: float) -> float:
        return left + (right - left) * min(1.0, time / seconds)

    def y(probability: float) -> float:
        return bottom - (bottom - top) * probability

    pen.text((left, 12.0), title if len(title) <= 110 else f"{title[:107]}...", 17, _INK, "la")
    pen.text((left, 37.0), remark, 13, "#55555c", "la")
    bins = curve.bins
    ends = [*(b.time for b in bins[1:]), seconds][: len(bins)]
    for piece, stop in zip(bins, ends, strict=True):
        if 2 * piece.opened >= piece.count:
            pen.box((x(piece.time), top, x(stop), bottom), _OPEN)
    for piece, stop in zip(bins, ends, strict=True):
        if piece.high > piece.low:
            pen.box((x(piece.time), y(piece.high), x(stop), y(piece.low)), _BAND)
    for level in (0.0, 0.5, 1.0):
        pen.line([(left, y(level)), (right, y(level))], 1, _FAINT)
        pen.text((left - 10, y(level)), f"{level:.1f}", 13, _INK, "rm")
    for time in _time_ticks(seconds):
        pen.line([(x(time), bottom), (x(time), bottom + 5)], 1, _INK)
        pen.text((x(time), bottom + 10), _clock(time, seconds), 13, _INK, "ma")
    pen.line([(left, top), (left, bottom), (right, bottom)], 1, _INK)
    points = [((x(b.time) + x(stop)) / 2, y(b.total / b.count)) for b, stop in zip(bins, ends, strict=True)]
    if points:
        points = [(left, points[0][1]), *points, (x(seconds), points[-1][1])]
        pen.line(points, 2, _CURVE)
    picture.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS).save(path)


class _Pen:
    """Draws in units of the final image."""

    def __init__(self, canvas: ImageDraw.ImageDraw):
        self._canvas = canvas

    def line(self, points: Sequence[tuple[float, float]], width: int, colour: str) -> None:
        scaled = [(px * _SCALE, py * _SCALE) for px, py in points]
        self._canvas.line(scaled, fill=colour, width=width * _SCALE, joint="curve")

    def box(self, corners: tuple[float, float, float, float], colour: str) -> None:
        self._canvas.rectangle([c * _SCALE for c in corners], fill=colour)

    def text(self, place: tuple[float, float], text: str, size: int, colour: str, anchor: str) -> None:
        font = ImageFont.load_default(size * _SCALE)
        at = (place[0] * _SCALE, place[1] * _SCALE)
        self._canvas.text(at, text, fill=colour, font=font, anchor=anchor)
