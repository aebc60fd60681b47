"""Video files for the tests, made by PyAV: every frame carries its number, every 30th comes with a click."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TICKS = Fraction(1, 90_000)
BITS = 10


def stamp(index: int, size: tuple[int, int] = (96, 128), click: bool = False) -> np.ndarray:
    """A frame [height, width, 3] that shows `index` in binary, and a red bar when a click sounds with it."""
    image = np.full((*size, 3), 60, np.uint8)
    cell = size[1] // BITS
    for bit in range(BITS):
        if index >> bit & 1:
            image[size[0] // 8 : size[0] // 3, bit * cell + 1 : (bit + 1) * cell - 1] = 230
    if click:
        image[2 * size[0] // 3 :] = (220, 30, 30)
    return image


def read_stamp(image: np.ndarray) -> int:
    """The number that `stamp` wrote."""
    height, cell = image.shape[0], image.shape[1] // BITS
    rows = image[height // 6 : height // 4]
    return sum(1 << b for b in range(BITS) if rows[:, b * cell + cell // 3 : b * cell + 2 * cell // 3].mean() > 145)


def regular(count: int, fps: float = 30) -> list[float]:
    """Times of `count` frames."""
    return [index / fps for index in range(count)]


def variable(count: int) -> list[float]:
    """Times of `count` frames of which every third lasts longer."""
    return np.cumsum([0] + [1 / 30 if i % 3 else 0.075 for i in range(count - 1)]).tolist()


def waveform(times: Sequence[float], rate: int, seconds: float) -> np.ndarray:
    """Silence with a click of 5 ms at each of `times`, [samples] in [-1, 1]."""
    sound = np.zeros(round(seconds * rate), np.float32)
    for time in times:
        start = round(time * rate)
        tone = 0.8 * np.sin(2 * np.pi * 2000 * np.arange(rate // 200) / rate)
        sound[start : start + len(tone)] = tone[: max(0, len(sound) - start)]
    return sound


def clicks(sound: np.ndarray, rate: int) -> np.ndarray:
    """Onsets of the clicks, in seconds."""
    loud = np.flatnonzero(np.abs(sound) > 0.25)
    return loud[np.diff(loud, prepend=-rate) > rate * 0.3] / rate


def write_video(
    path: Path,
    times: Sequence[float],
    *,
    size: tuple[int, int] = (96, 128),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    sound: str | None = "aac",
    rate: int = 44_100,
    layout: str = "stereo",
    sound_seconds: float | None = None,
    sound_delay: float = 0.0,
    rotation: int = 0,
) -> Path:
    """Writes frames shown at `times`, a click with every 30th of them. Returns `path`."""
    fps = Fraction((len(times) - 1) / times[-1] if len(times) > 1 else 30).limit_denominator(1001)
    with av.open(str(path), "w") as container:
        # MPEG-4 part 2 has 16 bits for its clock.
        clock = 1 / fps if codec == "mpeg4" else TICKS
        video = container.add_stream(codec, rate=fps)
        video.height, video.width, video.pix_fmt = *size, pixels
        video.codec_context.time_base = clock
        if rotation:
            video.set_display_rotation(rotation)
        if sound:
            track = container.add_stream(sound, rate=rate)
            track.layout = layout
        for index, time in enumerate(times):
            image = stamp(index, size, sound is not None and index % 30 == 0)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(time / clock), clock
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound:
            length = times[-1] + float(1 / fps) if sound_seconds is None else sound_seconds
            samples = waveform([t for t in times[::30] if t < length], rate, length)
            samples = np.tile(samples, (2 if layout == "stereo" else 1, 1))
            for start in range(0, samples.shape[1], 1024):
                piece = np.ascontiguousarray(samples[:, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = start + round(sound_delay * rate)
                container.mux(track.encode(frame))
            container.mux(track.encode(None))
    return path
