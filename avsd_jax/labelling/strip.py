"""The audio of a video drawn along time: peaks of the waveform and levels of a spectrogram, at any zoom.

Columns of 10 ms are computed once, in one pass of bounded memory, and kept in files, along with columns that sum up 8,
64 and 512 of them, so that any part of the longest film is drawn from few columns.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import scipy.fft
from jaxtyping import Float32, UInt8

from avsd_jax.common.mel_scale import hertz, mel
from avsd_jax.media.audio import stream_audio

RATE, HOP = 16_000, 160
SECONDS = HOP / RATE
BANDS = 48
# The lowest and the highest sample, then the bands from low to high.
COLUMN = 2 + BANDS
# Of a sample, as the number of silence.
MIDDLE = 128

_WINDOW = 512
_LEVELS, _FACTOR = 4, 8
_LOWEST_HZ = 60.0
_QUIETEST_DB, _LOUDEST_DB = -100.0, -20.0
_CHUNK = 4096 * _FACTOR


def write(folder: Path, video: Path, start: float, progress: Callable[[int], None] = lambda columns: None) -> None:
    """Computes the columns of a video's audio.

    Args:
        folder: gets a file per level; it exists.
        video: a file with an audio track.
        start: the first frame's time on the container's clock, in seconds: the first column begins there.
        progress: is called with the number of columns so far; an exception that it raises ends the pass.

    Raises:
        InputError: the file cannot be read.
    """
    with _path(folder, 0).open("wb") as file:
        done = 0
        for columns in _columns(stream_audio(video, RATE, "mono", start)):
            file.write(columns.tobytes())
            done += len(columns)
            progress(done)
    for level in range(1, _LEVELS):
        finer = _read(folder, level - 1)
        with _path(folder, level).open("wb") as file:
            for first in range(0, len(finer), _CHUNK):
                piece = finer[first : first + _CHUNK]
                file.write(_summed(piece, np.arange(0, len(piece), _FACTOR)).tobytes())


def read(folder: Path, start: float, stop: float, count: int) -> UInt8[np.ndarray, "count 50"]:
    """Returns columns for a part of the audio, each a lowest and a highest sample and levels of bands.

    Args:
        folder: with the files that `write` made.
        start, stop: of the part, in seconds; silence where there is no audio.
        count: of the columns that share it equally.
    """
    seconds = max(stop - start, SECONDS) / count
    level = min(_LEVELS - 1, max(0, int(np.log(seconds / SECONDS) / np.log(_FACTOR) + 1e-9)))
    columns = _read(folder, level)
    hop = SECONDS * _FACTOR**level
    out = np.zeros((count, COLUMN), np.uint8)
    out[:, :2] = MIDDLE
    edges = (start + np.arange(count + 1) * seconds) / hop
    first = np.floor(edges[:-1] + 1e-9).astype(int)
    last = np.maximum(first + 1, np.ceil(edges[1:] - 1e-9).astype(int))
    there = np.flatnonzero((last > 0) & (first < len(columns)))
    if len(there):
        first, last = np.clip(first[there], 0, len(columns) - 1), np.minimum(last[there], len(columns))
        low = int(first[0])
        part = np.asarray(columns[low : int(last[-1])])
        for at, a, b in zip(there, first - low, last - low, strict=True):
            out[at] = _summed(part[a:b], np.zeros(1, int))[0]
    return out


def _path(folder: Path, level: int) -> Path:
    return folder / f"strip{level}.u8"


def _read(folder: Path, level: int) -> UInt8[np.ndarray, "n 50"]:
    """Returns the columns of a level, in a file."""
    path = _path(folder, level)
    number = path.stat().st_size // COLUMN
    if not number:
        return np.zeros((0, COLUMN), np.uint8)
    return np.memmap(path, np.uint8, "r", shape=(number, COLUMN))


def _summed(columns: UInt8[np.ndarray, "n 50"], firsts: np.ndarray) -> UInt8[np.ndarray, "m 50"]:
    """Joins columns from each of `firsts` to the next: peaks and levels are the extreme ones."""
    lowest = np.minimum.reduceat(columns[:, :1], firsts)
    return np.concatenate([lowest, np.maximum.reduceat(columns[:, 1:], firsts)], 1)


def _columns(pieces: Iterator[Float32[np.ndarray, "1 s"]]) -> Iterator[UInt8[np.ndarray, "n 50"]]:
    """Yields the columns of a waveform that comes in pieces; the last one may be shorter than the others."""
    around = (_WINDOW - HOP) // 2
    held = np.zeros(around, np.float32)
    for piece in pieces:
        held = np.concatenate([held, piece[0]])
        number = max(0, (len(held) - _WINDOW) // HOP + 1)
        if number:
            yield _drawn(held[: (number - 1) * HOP + _WINDOW], number, around)
            held = held[number * HOP :]
    number = -(-max(0, len(held) - around) // HOP)
    if number:
        yield _drawn(np.pad(held, (0, max(0, (number - 1) * HOP + _WINDOW - len(held)))), number, around)


def _drawn(samples: Float32[np.ndarray, " s"], number: int, around: int) -> UInt8[np.ndarray, "n 50"]:
    """Returns columns; the spectrum of each is that of a window with the column in its middle."""
    own = samples[around : around + number * HOP].reshape(number, HOP)
    peaks = np.stack([own.min(1), own.max(1)], 1)
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::HOP][:number]
    spectrum = scipy.fft.rfft(windows * _HANN, axis=1)
    power = np.add.reduceat(spectrum.real**2 + spectrum.imag**2, _EDGES[:-1], axis=1)[:, :BANDS]
    decibels = 10 * np.log10(power / np.diff(_EDGES) + 1e-12)
    levels = (decibels - _QUIETEST_DB) / (_LOUDEST_DB - _QUIETEST_DB)
    return np.concatenate([MIDDLE + np.round(peaks * 127), 255 * np.clip(levels, 0, 1)], 1).astype(np.uint8)


def _band_edges() -> np.ndarray:
    """Returns the first bins of the bands and one beyond the last: as wide as on the mel scale, and a bin at least."""
    limits = hertz(np.linspace(mel(_LOWEST_HZ), mel(RATE / 2), BANDS + 1))
    bins = np.round(limits * _WINDOW / RATE).astype(int)
    edges = np.maximum.accumulate(bins - np.arange(BANDS + 1)) + np.arange(BANDS + 1)
    return np.minimum(edges, _WINDOW // 2 - np.arange(BANDS + 1)[::-1])


# Scaled so that a sine of full amplitude has power 1/4 in its bin.
_HANN = (np.hanning(_WINDOW + 1)[:-1] / np.hanning(_WINDOW + 1)[:-1].sum()).astype(np.float32)
_EDGES = _band_edges()
