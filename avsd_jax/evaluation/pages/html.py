"""HTML of a page per video and of their index, self-contained: SVG curves, frames with maps as data URIs."""

import functools
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from urllib.parse import quote

import numpy as np
from jaxtyping import Float, Int

from avsd_jax.evaluation.earlier_scores import PAGES_MARK
from avsd_jax.evaluation.score_files import arrow, number
from avsd_jax.metrics import LOWER_IS_BETTER
from avsd_jax.scoring import figures

LABELS = {1: "consistent", 0: "inconsistent", -1: "unlabelled"}
# The browser refuses to load anything from outside the file.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 620, 150, 46, 608, 8, 126
_BAND = 14


@dataclass(frozen=True)
class Card:
    """A frame to show: JPEG data URIs of the frame, the ground truth, and each model's map; None if there is none."""

    frame: int
    image: str | None
    truth: str
    maps: tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class Video:
    """The content of the page of one video.

    Attributes:
        name: of the video, with its split if there are several.
        file: of the page.
        length: frames of the video.
        labels: AVC label per frame of the video.
        frames: numbers of the scored frames, ascending.
        scores: metric -> score by model and scored frame, NaN if there is none.
    """

    name: str
    file: str
    length: int
    labels: Int[np.ndarray, " n"]
    frames: Int[np.ndarray, " f"]
    scores: Mapping[str, Float[np.ndarray, "models f"]]

    def means(self, metric: str) -> list[float | None]:
        """Returns the mean over the frames that have the score, by model."""
        known = [values[np.isfinite(values)] for values in self.scores[metric]]
        return [float(values.mean()) if len(values) else None for values in known]


def video_page(video: Video, cards: Sequence[Card], models: Sequence[str], about: str, chosen: str) -> str:
    """Builds the page of a video.

    Args:
        video: its scores.
        cards: the frames to show, worst first.
        models: their names.
        about: dataset and protocol, in a sentence.
        chosen: how the cards were chosen, in a sentence.
    """
    metrics = list(video.scores)
    rows = [[escape(model), *(number(video.means(m)[i]) for m in metrics)] for i, model in enumerate(models)]
    orders = [f'<option value="{escape(m)}">worst {escape(m)} first</option>' for m in metrics]
    body = [
        '<p><a href="index.html">All videos</a></p>',
        f"<h1>{escape(video.name)}</h1>",
        f'<p class="faint">{escape(about)} {video.length} frames, {len(video.frames)} scored; frames are counted from '
        "0.</p>",
        _table(["mean over frames", *map(arrow, metrics)], rows),
        "<h2>Scores over time</h2>",
        f"<p>{_legend(models)}</p><p>{_label_legend()}</p>",
        '<div class="tools"><label for="frame">Frame</label><input type="range" id="frame" '
        f'min="0" max="{video.length - 1}" value="{video.frames[0]}"><output id="said" for="frame"></output></div>',
        '<div class="charts">',
        *(_chart(video, metric, models, [card.frame for card in cards]) for metric in metrics),
        "</div>",
        "<h2>Frames, worst first</h2>",
        f'<p class="faint">{escape(chosen)}</p>',
        f'<div class="tools" id="tools" hidden><label>Order <select id="order">{"".join(orders)}'
        '<option value="time">in time</option></select></label><label>AVC label <select id="label">'
        '<option value="all">all</option>'
        + "".join(f'<option value="{value}">{name}</option>' for value, name in LABELS.items())
        + "</select></label></div>",
        '<ol class="cards">',
        *(_card(video, card, models) for card in cards),
        "</ol>",
        f'<script type="application/json" id="data">{_data(video, models)}</script>',
        f"<script>{_file('script.js')}</script>",
    ]
    return _document(video.name, body)


def index_page(
    videos: Sequence[Video], models: Sequence[str], metrics: Sequence[str], about: str, absent: Sequence[str]
) -> str:
    """Builds the page that links all others.

    Args:
        videos: in the order of the list.
        models: their names.
        metrics: of the scores.
        about: dataset and protocol, in a sentence.
        absent: videos without any prediction.
    """
    head = ["video", "frames", "labels", *(_column(m, model, models) for m in metrics for model in models)]
    rows = []
    for video in videos:
        link = f'<a href="{escape(quote(video.file))}">{escape(video.name)}</a>'
        scores = [number(mean) for m in metrics for mean in video.means(m)]
        rows.append([link, str(len(video.frames)), _band(video, 120, 10), *scores])
    body = [
        f"<h1>{escape(', '.join(models))}: {len(videos)} videos</h1>",
        f'<p class="faint">{escape(about)} Means over the scored frames of each video; worst {escape(metrics[0])} '
        "first.</p>",
        f"<p>{_label_legend()}</p>",
        _table(head, rows),
    ]
    if absent:
        body.append(f"<p>Videos without any prediction: {escape(', '.join(absent))}.</p>")
    return _document(f"{', '.join(models)}: videos", body)


def _column(metric: str, model: str, models: Sequence[str]) -> str:
    return arrow(metric) if len(models) == 1 else f"{arrow(metric)} {model}"


def _document(title: str, body: Sequence[str]) -> str:
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            PAGES_MARK,
            f"<title>{escape(title)}</title>\n<style>\n{_file('style.css')}</style>\n</head>\n<body>",
            *body,
            "</body>\n</html>\n",
        ]
    )


@functools.cache
def _file(name: str) -> str:
    return (resources.files("avsd_jax.evaluation.pages") / "files" / name).read_text(encoding="utf-8")


def _data(video: Video, models: Sequence[str]) -> str:
    """Encodes all values for the script; nothing in them can end the enclosing element."""
    values = {
        "models": list(models),
        "length": video.length,
        "frames": video.frames.tolist(),
        "labels": video.labels[video.frames].tolist(),
        "descending": [m for m in video.scores if m in LOWER_IS_BETTER],
        "scores": [
            {m: [round(x, 6) if math.isfinite(x) else None for x in by[i].tolist()] for m, by in video.scores.items()}
            for i in range(len(models))
        ],
    }
    return json.dumps(values, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Builds a table; the cells are HTML, the head is text."""
    lines = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


# ---------------------------------------------------------------------------------------------------------------------
# Curves
# ---------------------------------------------------------------------------------------------------------------------


def _stroke(model: int) -> str:
    """Returns a model's colour; the seventh and later reuse colours, dashed."""
    dashes = "" if model < 6 else f"; stroke-dasharray: {2 * (model // 6)} 3"
    return f"stroke: var(--model{model % 6}){dashes}"


def _legend(models: Sequence[str]) -> str:
    size = 'style="width: 24px" viewBox="0 0 24 8"'
    line = f'<svg {size} aria-hidden="true"><path class="curve" style="{{}}" d="M1 4H23"/></svg>'
    return "".join(
        f'<span class="key">{line.format(_stroke(i))}{escape(model)}</span>' for i, model in enumerate(models)
    )


def _label_legend() -> str:
    keys = (f'<span class="key"><i class="run{value}"></i>{name}</span>' for value, name in LABELS.items())
    return "AVC labels, as a band: " + "".join(keys)


def _runs(labels: Int[np.ndarray, " n"]) -> Iterator[tuple[int, int, int]]:
    """Yields (label, first frame, frame after the last) of segments of one label."""
    for label, run in itertools.groupby(enumerate(labels.tolist()), key=lambda item: item[1]):
        frames = [frame for frame, _ in run]
        yield label, frames[0], frames[-1] + 1


def _label_words(labels: Int[np.ndarray, " n"]) -> str:
    counts = {name: int((labels == value).sum()) for value, name in LABELS.items()}
    return "AVC labels: " + ", ".join(f"{n} frames {name}" for name, n in counts.items() if n)


def _rects(labels: Int[np.ndarray, " n"], left: int, right: int, top: int, height: int) -> str:
    step = (right - left) / len(labels)
    return "".join(
        f'<rect class="run{label}" x="{left + step * first:.2f}" y="{top}" width="{step * (stop - first):.2f}" '
        f'height="{height}"/>'
        for label, first, stop in _runs(labels)
    )


def _band(video: Video, width: int, height: int) -> str:
    """Draws the AVC labels of a video as a separate image."""
    words = escape(_label_words(video.labels))
    rects = _rects(video.labels, 0, width, 0, height)
    return f'<svg style="width: {width}px" viewBox="0 0 {width} {height}" role="img" aria-label="{words}">{rects}</svg>'


def _chart(video: Video, metric: str, models: Sequence[str], shown: Sequence[int]) -> str:
    """Draws a metric over time, a curve per model, above the band of AVC labels; ticks mark the frames shown."""
    values = video.scores[metric]
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    ticks = figures.ticks(low, high if high > low else low + 1)

    def x(frame: int) -> float:
        return _LEFT + (frame + 0.5) / video.length * (_RIGHT - _LEFT)  # the centre of its part of the band

    def y(value: float) -> float:
        return _BOTTOM - (value - ticks[0]) / (ticks[-1] - ticks[0]) * (_BOTTOM - _TOP)

    parts = [
        f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y(t) + 4:.1f}" text-anchor="end">{t:g}</text>'
        for t in ticks
    ]
    parts += [f'<line class="shown" x1="{x(f):.1f}" x2="{x(f):.1f}" y1="{_BOTTOM}" y2="{_BOTTOM + 5}"/>' for f in shown]
    parts.append(_rects(video.labels, _LEFT, _RIGHT, _BOTTOM + 8, _BAND))
    for i, line in enumerate(values):
        points = [(x(f), y(v), f) for f, v in zip(video.frames.tolist(), line.tolist(), strict=True)]
        parts.append(f'<path class="curve" style="{_stroke(i)}" d="{_path(points)}"/>')
    parts.append(f'<line class="cursor" y1="{_TOP}" y2="{_BOTTOM + 8 + _BAND}"/>')
    means = ", ".join(f"{name} mean {number(mean)}" for name, mean in zip(models, video.means(metric), strict=True))
    words = f"{metric} over time from {low:.3f} to {high:.3f}: {means}. {_label_words(video.labels)}"
    return (
        f'<div class="chart"><h3>{escape(arrow(metric))}<output data-metric="{escape(metric)}"></output></h3>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(words)}" data-left="{_LEFT}" '
        f'data-right="{_RIGHT}" data-width="{_WIDTH}">{"".join(parts)}</svg></div>'
    )


def _path(points: Sequence[tuple[float, float, int]]) -> str:
    """Builds a line with gaps where frames have no score; an isolated frame is a dot."""
    steps = np.diff([frame for _, _, frame in points])
    longest = 2 * float(np.median(steps)) if len(steps) else 0
    path, last = [], None
    for x, y, frame in points:
        if math.isfinite(y):
            joined = last is not None and frame - last <= longest
            path.append(f"L{x:.1f} {y:.1f}" if joined else f"M{x:.1f} {y:.1f}h0")
            last = frame
        else:
            last = None
    return "".join(path)


# ---------------------------------------------------------------------------------------------------------------------
# Frames
# ---------------------------------------------------------------------------------------------------------------------


def _card(video: Video, card: Card, models: Sequence[str]) -> str:
    label = int(video.labels[card.frame])
    row = int(np.searchsorted(video.frames, card.frame))
    shown_images = [_figure(card.truth, f"fixations and density in frame {card.frame}", "ground truth")]
    if card.image is not None:
        shown_images.insert(0, _figure(card.image, f"frame {card.frame}", "frame"))
    for i, (model, uri) in enumerate(zip(models, card.maps, strict=True)):
        scores = [f"{m} {_value(values[i, row])}" for m, values in video.scores.items()]
        words = f"map of {model} over frame {card.frame}: {', '.join(scores)}"
        shown = " ".join(f"<span>{escape(score)}</span>" for score in scores)
        shown_images.append(_figure(uri, words, f"<b>{escape(model)}</b><br>{shown}"))
    return (
        f'<li class="card is{label}" id="frame-{card.frame}" data-frame="{card.frame}" data-label="{label}">'
        f'<h3>Frame {card.frame}<span>{LABELS[label]}</span></h3><div class="row">{"".join(shown_images)}</div></li>'
    )


def _value(score: float) -> str:
    return number(float(score) if math.isfinite(score) else None)


def _figure(uri: str | None, words: str, caption: str) -> str:
    image = (
        '<div class="none">no map</div>'
        if uri is None
        else f'<img src="{uri}" alt="{escape(words)}" width="{figures.CELL}" loading="lazy">'
    )
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
