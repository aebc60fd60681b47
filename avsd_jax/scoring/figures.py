"""Figures of a report: a panel of frames with the maps of models, and training curves."""

import functools
import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image, ImageDraw, ImageFont

from avsd_jax.media.overlay import heat
from avsd_jax.scoring.calibration import Bin
from avsd_jax.scoring.evaluator import Example

Picture = UInt8[np.ndarray, "h w 3"]
Drawn = UInt8[np.ndarray, "H W 3"]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_PAPER, _INK, _FAINT, _GRID = (255, 255, 255), (28, 30, 36), (116, 120, 130), (228, 230, 234)
_CONSISTENT, _INCONSISTENT, _UNLABELLED = (24, 140, 84), (204, 96, 16), (116, 120, 130)
_LABELS = {
    1: ("consistent", _CONSISTENT),
    0: ("inconsistent", _INCONSISTENT),
    -1: ("unlabelled", _UNLABELLED),
}
# Distinguishable with colour blindness (Okabe and Ito).
_LINES = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0))

CELL = 240
"""Width of an image, in pixels."""
_MARGIN, _GAP = 20, 10
_TITLE, _TEXT, _SMALL = 20, 16, 14


def panel(rows: Mapping[str, Sequence[Example]]) -> Drawn:
    """Draws frames line by line: the frame, its ground truth, and each model's map with its CC and gate.

    Args:
        rows: name of a model -> its examples. The lines are those of the first; if a model has no example
            of the same frame, its cell is empty.

    Returns:
        An RGB image.
    """
    first = next(iter(rows.values()))
    titles = ["frame", "people", *rows]
    found = {name: {(e.video_id, e.frame): e for e in examples} for name, examples in rows.items()}
    heights = [round(CELL * e.density.shape[0] / e.density.shape[1]) for e in first]
    head, over, under = _MARGIN + _TITLE + 2 * _GAP, _TEXT + _GAP, _SMALL + 4 * _GAP
    width = 2 * _MARGIN + len(titles) * (CELL + _GAP) - _GAP
    page = Image.new("RGB", (width, head + sum(heights) + len(first) * (over + under) + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(page)
    left = [_MARGIN + i * (CELL + _GAP) for i in range(len(titles))]
    for x, title in zip(left, titles, strict=True):
        draw.text((x + CELL / 2, _MARGIN + _TITLE), title, _INK, _font(_TITLE), anchor="ms")

    y = head
    for example, height in zip(first, heights, strict=True):
        _caption(draw, (left[0], y + _TEXT // 2), example)
        y += over
        page.paste(Image.fromarray(fit(example.image, height)), (left[0], y))
        page.paste(Image.fromarray(truth(example.image, example.density, example.fixations, height)), (left[1], y))
        for x, own in zip(left[2:], found.values(), strict=True):
            match = own.get((example.video_id, example.frame))
            if match is not None:
                page.paste(Image.fromarray(laid_over(match.image, match.prediction, height)), (x, y))
                _verdict(draw, (x, y + height + _GAP), match)
        y += height + under
    return np.asarray(page)


def curves(series: Mapping[str, Sequence[tuple[int, float]]], name: str, along: str = "step") -> Drawn:
    """Draws lines over steps.

    Args:
        series: name of a line -> (step, value) points, steps ascending.
        name: of the values.
        along: what is counted as steps.

    Returns:
        An RGB image.
    """
    # Drawn at twice the size and halved, which smooths the lines.
    width, height, left, right, top, bottom = 1520, 840, 152, 260, 88, 104
    text, small, gap = _font(2 * _TEXT), _font(2 * _SMALL), 2 * _GAP
    page = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(page)
    points = np.array([point for line in series.values() for point in line], float).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    steps, values = (ticks(*bounds) for bounds in zip(*_bounds(points), strict=True))

    def place(step: float, value: float) -> tuple[float, float]:
        x = left + (step - steps[0]) / (steps[-1] - steps[0]) * (width - left - right)
        y = height - bottom - (value - values[0]) / (values[-1] - values[0]) * (height - top - bottom)
        return x, y

    draw.text((left, top / 2), name, _INK, text, anchor="lm")
    draw.text(((left + width - right) / 2, height - gap), along, _FAINT, small, anchor="mb")
    for value in values:
        y = place(steps[0], value)[1]
        draw.line((left, y, width - right, y), _GRID, width=2)
        draw.text((left - gap, y), f"{value:g}", _FAINT, small, anchor="rm")
    for step in steps:
        x = place(step, values[0])[0]
        draw.text((x, height - bottom + gap), f"{step:g}", _FAINT, small, anchor="mt")
    for i, (label, line) in enumerate(series.items()):
        colour = _LINES[i % len(_LINES)]
        known = [place(float(step), value) for step, value in line if math.isfinite(value)]
        if len(known) > 1:
            draw.line(known, colour, width=4, joint="curve")
        y = top + (i + 0.5) * 3.2 * _SMALL
        draw.line((width - right + 24, y, width - right + 68, y), colour, width=6)
        draw.text((width - right + 84, y), label, _INK, small, anchor="lm")
    return np.asarray(page.reduce(2))


@functools.cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def fit(image: Picture, height: int) -> Drawn:
    """Returns an image of width `CELL` and a height in pixels."""
    shrinking = image.shape[0] > height
    return cv2.resize(image, (CELL, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)


def laid_over(image: Picture, values: Num[np.ndarray, "hd wd"], height: int) -> Drawn:
    """Draws a map over its frame, normalised to the full range of colours; a constant map is drawn as no map."""
    values = np.nan_to_num(values.astype(np.float32))
    low, high = float(values.min()), float(values.max())
    grey = (values - low) * (255 / (high - low) if high > low else 0)
    grey = cv2.resize(grey, (CELL, height), interpolation=cv2.INTER_LINEAR)
    return heat(fit(image, height), np.clip(grey + 0.5, 0, 255).astype(np.uint8))


def truth(image: Picture, density: Num[np.ndarray, "hd wd"], fixations: Num[np.ndarray, "n 2"], height: int) -> Drawn:
    """Draws the density map over its frame, with its fixations (x, y) in pixels of the density map."""
    canvas = laid_over(image, density, height)
    scale = (CELL / density.shape[1], height / density.shape[0])
    for x, y in (fixations + 0.5) * scale:
        centre = (round(16 * x), round(16 * y))
        for radius, colour in ((56, _INK), (36, _PAPER)):
            cv2.circle(canvas, centre, radius, colour, -1, cv2.LINE_AA, shift=4)
    return canvas


def _caption(draw: ImageDraw.ImageDraw, where: tuple[int, int], example: Example) -> None:
    label, colour = _LABELS[example.label]
    x, y = where
    draw.ellipse((x, y - 5, x + 10, y + 5), colour)
    draw.text((x + 18, y), label, colour, _font(_TEXT), anchor="lm")
    after = x + 18 + _font(_TEXT).getlength(label) + 12
    draw.text((after, y), f"{example.video_id}, frame {example.frame}", _FAINT, _font(_SMALL), anchor="lm")


def _verdict(draw: ImageDraw.ImageDraw, where: tuple[int, int], example: Example) -> None:
    """Writes the score under a map on the left, the gate on the right."""
    x, y = where
    score = example.scores["CC"]
    draw.text((x, y), f"CC {score:.2f}" if math.isfinite(score) else "CC -", _INK, _font(_SMALL))
    if example.gate is None:
        return
    sure = "" if example.probability is None else f" (p = {example.probability:.2f})"
    text, colour = ("gate open", _CONSISTENT) if example.gate else ("gate closed", _INCONSISTENT)
    draw.text((x + CELL, y), text + sure, colour, _font(_SMALL), anchor="ra")


def _bounds(points: Num[np.ndarray, "n 2"]) -> Num[np.ndarray, "2 2"]:
    """Returns the minimum and maximum of steps and values; a valid range even if there are none."""
    if not len(points):
        return np.array([[0.0, 0.0], [1.0, 1.0]])
    low, high = points.min(axis=0), points.max(axis=0)
    return np.stack([low, np.where(high > low, high, low + 1)])


def ticks(low: float, high: float) -> list[float]:
    """Returns about five round numbers that enclose an interval."""
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    start, stop = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(start, stop + 1)]


def reliability(series: Mapping[str, Sequence[Bin]]) -> Drawn:
    """Draws the share of consistent frames over their probability of consistency: on the diagonal if it is calibrated.

    Args:
        series: name of a classifier -> its bins; a point's area is the bin's share of the frames.

    Returns:
        An RGB image.
    """
    # Drawn at twice the size and halved, which smooths the lines.
    side, left, top, right, bottom = 800, 152, 48, 420, 128
    text, gap = _font(2 * _SMALL), 2 * _GAP
    page = Image.new("RGB", (left + side + right, top + side + bottom), _PAPER)
    draw = ImageDraw.Draw(page)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + side * x, top + side * (1 - y)

    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        draw.line((place(0.0, value), place(1.0, value)), _GRID, width=2)
        draw.line((place(value, 0.0), place(value, 1.0)), _GRID, width=2)
        x, y = place(0.0, value)
        draw.text((x - gap, y), f"{value:g}", _FAINT, text, anchor="rm")
        x, y = place(value, 0.0)
        draw.text((x, y + gap), f"{value:g}", _FAINT, text, anchor="mt")
    draw.line((place(0.0, 0.0), place(1.0, 1.0)), _FAINT, width=3)
    x, y = place(0.5, 0.0)
    draw.text((x, y + bottom - gap), "probability of consistency", _FAINT, text, anchor="mb")
    draw.text((left + gap, top + gap), "share of consistent frames", _FAINT, text, anchor="lt")
    for i, (label, bins) in enumerate(series.items()):
        colour, total = _LINES[i % len(_LINES)], sum(one.count for one in bins)
        points = [place(one.probability, one.frequency) for one in bins]
        if len(points) > 1:
            draw.line([coordinate for point in points for coordinate in point], colour, width=4, joint="curve")
        for one, (x, y) in zip(bins, points, strict=True):
            radius = 4 + 48 * math.sqrt(one.count / total)
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=4)
        y = top + (i + 0.5) * 3.2 * _SMALL
        draw.line((left + side + 48, y, left + side + 92, y), colour, width=6)
        draw.text((left + side + 108, y), label, _INK, text, anchor="lm")
    return np.asarray(page.reduce(2))
