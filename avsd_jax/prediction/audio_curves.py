"""Audio saliency of a file over time: a table with a curve for each method, a record, and a plot."""

import csv
import dataclasses
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32
from PIL import Image, ImageDraw
from tqdm import tqdm

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.normalise import unit
from avsd_jax.handcrafted.sound import curves
from avsd_jax.handcrafted.sound.frames import frame_edges
from avsd_jax.media.audio import no_audio
from avsd_jax.media.container import has_video
from avsd_jax.media.reading import audio_stream, frame_times, open_media, read_audio
from avsd_jax.media.survey import survey
from avsd_jax.prediction.drawing import BAND, CURVE, FAINT, INK, SCALE, Pen, clock, time_ticks
from avsd_jax.prediction.map_writers import Staging, holds

RECORD, TABLE, PLOT = "audio_saliency.json", "audio_saliency.csv", "audio_saliency.png"
STEP_SECONDS = 0.04  # between the rows of a file without video


@dataclasses.dataclass(frozen=True)
class AudioSaliencyResult:
    """Result of a run: the written files, and notes on the input.

    Attributes:
        times: of the rows, in seconds.
        saliency: by method, in [0, 1] over the file.
    """

    files: tuple[Path, ...]
    times: Float[np.ndarray, " n"]
    saliency: dict[str, Float[np.ndarray, " n"]]
    notes: tuple[str, ...]


def run(path: str | Path, out: str | Path, methods: Sequence[str], *, progress: bool = True) -> AudioSaliencyResult:
    """Computes the curves of a file and writes table, record and plot; `avsd_jax.audio_saliency` describes them.

    On an error nothing is left in `out`.

    Args:
        path: an audio or video file.
        out: folder to write to; created if missing.
        methods: names in `avsd_jax.handcrafted.sound.curves.METHODS`, each once.
        progress: show a progress bar on stderr.

    Raises:
        InputError: the file cannot be read or has no audio, a method is unknown or given twice, or `out` cannot be
            written to or holds another file's result.
        StorageError: the disk is full or read-only.
    """
    check_methods(methods)
    path, out = Path(path), Path(out)
    check_folder(out, path.name)
    with Staging(out, RECORD, lambda out: ()) as staging:
        waveform, edges, notes = _read(path)
        raw = {}
        with tqdm(methods, unit="curve", disable=not progress, dynamic_ncols=True) as bar:
            for method in bar:
                bar.set_description(method)
                raw[method] = curves.curve(waveform, curves.RATE, method, edges)
        scaled = {method: np.asarray(unit(values, -1)) for method, values in raw.items()}
        flat = [method for method, values in scaled.items() if not values.any()]
        if flat:
            notes.append(f"constant, and so 0 throughout: {', '.join(flat)}")
        for note in notes:
            logging.warning("%s: %s", path.name, note)
        _write_table(staging.folder / TABLE, edges, scaled)
        record = _record(path, edges, raw, notes, len(waveform) / curves.RATE)
        (staging.folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")
        _draw(staging.folder / PLOT, path.name, waveform, edges, scaled)
        files = staging.publish()
    return AudioSaliencyResult(files, edges[:-1], scaled, tuple(notes))


def check_methods(methods: Sequence[str]) -> None:
    """Raises InputError unless there are methods, each known and given once."""
    if not methods:
        raise InputError(f"no method of audio saliency: choose of {', '.join(curves.METHODS)}")
    for index, method in enumerate(methods):
        if method not in curves.METHODS:
            raise InputError(f"unknown method of audio saliency {method!r}: choose of {', '.join(curves.METHODS)}")
        if method in methods[:index]:
            raise InputError(f"the method {method} is given twice: give it once")


def check_folder(out: Path, name: str) -> None:
    """Checks that `out` holds no curves of another file.

    Raises:
        InputError: it does, or those of an unknown one.
    """
    if not holds(out, RECORD, name, "audio saliency") and os.path.exists(out / TABLE):
        raise InputError(f"{out / TABLE} is of an unknown file: give another --out, or remove that file")


def _read(path: Path) -> tuple[Float32[np.ndarray, " s"], Float[np.ndarray, " e"], list[str]]:
    """Reads a file: its audio at 16 kHz, the edges of its frames, and notes.

    Raises:
        InputError: it cannot be read, or has no audio.
    """
    with open_media(path) as container:
        if audio_stream(container) is None:
            raise no_audio(path)
        with_pictures = has_video(container)
    notes: list[str] = []
    if with_pictures:
        info, remarks = survey(path)
        notes += remarks
        if info.audio is None:
            raise no_audio(path)
    waveform, _ = read_audio(path, curves.RATE)
    if not len(waveform):
        raise InputError(f"{path} holds no audio that can be decoded: check that it is whole, or export it again")
    seconds = len(waveform) / curves.RATE
    if not with_pictures:
        notes.append(f"no video: a row every {STEP_SECONDS * 1000:.0f} ms")
        return waveform, np.arange(int(np.ceil(round(seconds / STEP_SECONDS, 6))) + 1) * STEP_SECONDS, notes
    times = frame_times(path)
    edges = frame_edges(times, None if len(times) > 1 else 1 / info.fps)
    if seconds < edges[-2]:
        notes.append(f"the audio ends after {seconds:.2f} s, the video after {edges[-1]:.2f} s: the curves end at 0")
    return waveform, edges, notes


def _write_table(path: Path, edges: Float[np.ndarray, " e"], scaled: dict[str, Float[np.ndarray, " n"]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["frame", "time", *scaled])
        for index, (time, *values) in enumerate(zip(edges[:-1], *scaled.values(), strict=True)):
            table.writerow([index + 1, f"{time:.6f}", *(f"{value:.6f}" for value in values)])


def _record(
    path: Path,
    edges: Float[np.ndarray, " e"],
    raw: dict[str, Float[np.ndarray, " n"]],
    notes: list[str],
    seconds: float,
) -> dict[str, Any]:
    def summary(method: str, values: Float[np.ndarray, " n"]) -> dict[str, Any]:
        peak = int(values.argmax())
        return {
            "method": (curves.METHODS[method].__doc__ or "").strip(),
            "minimum": float(values.min()),
            "maximum": float(values.max()),
            "peak_time": round(float(edges[peak]), 6),
        }

    return {
        "video": path.name,
        "sample_rate": curves.RATE,
        "audio_seconds": round(seconds, 6),
        "num_frames": len(edges) - 1,
        "scale": "each curve is (value - minimum) / (maximum - minimum) over the file",
        "curves": {method: summary(method, values) for method, values in raw.items()},
        "notes": notes,
    }


_WIDTH, _LEFT, _RIGHT = 1200, 160.0, 1180.0
_TOP, _SPECTRUM, _WAVE, _CURVE, _GAP, _FOOT = 44.0, 130.0, 60.0, 58.0, 10.0, 34.0


def _draw(
    path: Path,
    name: str,
    waveform: Float32[np.ndarray, " s"],
    edges: Float[np.ndarray, " e"],
    scaled: dict[str, Float[np.ndarray, " n"]],
) -> None:
    """Draws spectrogram, waveform and curves over one time axis."""
    seconds = max(float(edges[-1]), len(waveform) / curves.RATE)
    height = round(_TOP + _SPECTRUM + _WAVE + (2 + len(scaled)) * _GAP + len(scaled) * _CURVE + _FOOT)
    picture = Image.new("RGB", (_WIDTH * SCALE, height * SCALE), "white")
    pen = Pen(ImageDraw.Draw(picture))
    title = f"Audio saliency: {name}"
    pen.text((16.0, 12.0), title if len(title) <= 110 else f"{title[:107]}...", 17, INK, "la")
    _draw_spectrogram(picture, pen, waveform, seconds)
    top = _TOP + _SPECTRUM + _GAP
    _draw_waveform(pen, waveform, seconds, top)
    top += _WAVE + _GAP
    for method, values in scaled.items():
        _draw_curve(pen, method, edges, values, seconds, top)
        top += _CURVE + _GAP
    bottom = top - _GAP
    for time in time_ticks(seconds):
        place = _LEFT + (_RIGHT - _LEFT) * time / seconds
        pen.line([(place, bottom), (place, bottom + 5)], 1, INK)
        pen.text((place, bottom + 9), clock(time, seconds), 13, INK, "ma")
    picture.resize((_WIDTH, height), Image.Resampling.LANCZOS).save(path)


def _draw_spectrogram(picture: Image.Image, pen: Pen, waveform: Float32[np.ndarray, " s"], seconds: float) -> None:
    """Pastes the log mel spectrogram, louder is darker; the columns of a pixel are averaged."""
    bands = curves.log_mel(waveform)
    wide = max(1, round((_RIGHT - _LEFT) * len(waveform) / curves.RATE / seconds))
    bands = _averaged(bands, wide * SCALE)
    shade = np.uint8(255 - 215 * np.asarray(unit(bands, (0, 1))))[::-1]
    image = Image.fromarray(shade).resize((wide * SCALE, round(_SPECTRUM * SCALE)), Image.Resampling.BILINEAR)
    picture.paste(image, (round(_LEFT * SCALE), round(_TOP * SCALE)))
    pen.text((_LEFT - 10, _TOP + _SPECTRUM / 2), "log mel, to 8 kHz", 13, INK, "rm")


def _draw_waveform(pen: Pen, waveform: Float32[np.ndarray, " s"], seconds: float, top: float) -> None:
    """Draws the range of the samples of every pixel, scaled to the loudest."""
    middle, loudest = top + _WAVE / 2, max(float(np.abs(waveform).max()), 1e-9)
    pixels = max(1, min(len(waveform), round((_RIGHT - _LEFT) * len(waveform) / curves.RATE / seconds)))
    starts = np.linspace(0, len(waveform), pixels, endpoint=False).astype(int)
    lows, highs = (ufunc.reduceat(waveform, starts) / loudest * _WAVE / 2 for ufunc in (np.minimum, np.maximum))
    places = _LEFT + (_RIGHT - _LEFT) * starts / curves.RATE / seconds
    for place, low, high in zip(places.tolist(), lows.tolist(), highs.tolist(), strict=True):
        pen.line([(place, middle - high), (place, middle - low)], 1, INK)
    pen.text((_LEFT - 10, middle), "waveform", 13, INK, "rm")


def _draw_curve(
    pen: Pen, name: str, edges: Float[np.ndarray, " e"], values: Float[np.ndarray, " n"], seconds: float, top: float
) -> None:
    """Draws a curve in [0, 1]: its mean in each pixel as a line, filled down to 0, and its range as a band."""
    bottom = top + _CURVE
    count = min(len(values), int(_RIGHT - _LEFT))
    starts = np.linspace(0, len(values), count, endpoint=False).astype(int)
    ends = np.append(starts[1:], len(values))
    means = (np.add.reduceat(values, starts) / (ends - starts)).tolist()
    highs = np.maximum.reduceat(values, starts).tolist()
    lefts, rights = ((_LEFT + (_RIGHT - _LEFT) * edges[index] / seconds).tolist() for index in (starts, ends))
    for left, right, high in zip(lefts, rights, highs, strict=True):
        pen.box((left, bottom - _CURVE * high, right, bottom), BAND)
    points = [
        (place, bottom - _CURVE * mean)
        for left, right, mean in zip(lefts, rights, means, strict=True)
        for place in ([left, right] if count < 200 else [(left + right) / 2])
    ]
    if len(points) > 1:
        pen.line(points, 1, CURVE)
    pen.line([(_LEFT, bottom), (_RIGHT, bottom)], 1, FAINT)
    pen.text((_LEFT - 10, top + _CURVE / 2), name.replace("_", " "), 13, INK, "rm")


def _averaged(bands: Float[np.ndarray, "f n"], most: int) -> Float[np.ndarray, "f m"]:
    """Averages neighbouring columns down to `most`; fewer stay as they are."""
    if bands.shape[1] <= most:
        return bands
    starts = np.linspace(0, bands.shape[1], most, endpoint=False).astype(int)
    return np.add.reduceat(bands, starts, axis=1) / np.diff(np.append(starts, bands.shape[1]))
