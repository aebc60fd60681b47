"""Video files for the tests, written by PyAV: every frame shows its number, every 30th has a click."""

import struct
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TICKS = Fraction(1, 90_000)
BITS = 10


def stamp(index: int, size: tuple[int, int] = (96, 128), click: bool = False) -> np.ndarray:
    """A frame [height, width, 3] that shows `index` in binary, and a red bar if it has a click."""
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
    late: Callable[[int], float] = lambda block: 0.0,
    samples: np.ndarray | None = None,
    rotation: int = 0,
    stated: float | None = None,
) -> Path:
    """Writes frames shown at `times`, a click with every 30th of them, or `samples` [channels, n]. Returns `path`.

    The k-th block of 1024 samples is stamped late(k) seconds late; `stated` is the rate in the container.
    """
    fps = Fraction((len(times) - 1) / times[-1] if len(times) > 1 else 30).limit_denominator(1001)
    units: list[av.Packet] = []
    with av.open(str(path), "w") as container:
        # MPEG-4 part 2 has 16 bits for its clock.
        clock = 1 / fps if codec == "mpeg4" else TICKS
        video = container.add_stream(codec, rate=Fraction(stated or fps))
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
            units += video.encode(frame)
        units += video.encode(None)
        if sound:
            length = times[-1] + float(1 / fps) if sound_seconds is None else sound_seconds
            if samples is None:
                samples = np.tile(waveform([t for t in times[::30] if t < length], rate, length), (2, 1))
            samples = samples[: 1 if layout == "mono" else None]
            for block, start in enumerate(range(0, samples.shape[1], 1024)):
                piece = np.ascontiguousarray(samples[:, start : start + 1024])
                frame = _as_coded(piece, track.codec_context.format.name, layout)
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = start + round((sound_delay + late(block)) * rate)
                units += track.encode(frame)
            units += track.encode(None)
        for packet in sorted(units, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def _as_coded(samples: np.ndarray, form: str, layout: str) -> av.AudioFrame:
    """Samples [channels, n] in the encoder's format: PyAV's own conversion would set the stamps right."""
    kind = {"s16": np.int16, "s32": np.int32, "flt": np.float32}[form.removesuffix("p")]
    values = samples if kind is np.float32 else np.round(samples.astype(np.float64) * np.iinfo(kind).max).astype(kind)
    values = values if form.endswith("p") else values.T.reshape(1, -1)
    return av.AudioFrame.from_ndarray(np.ascontiguousarray(values), format=form, layout=layout)


def joined(path: Path, parts: Sequence[Path]) -> Path:
    """Writes files one after the other, as `cat` does. Returns `path`."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Sets the display matrix of an mp4's video: pixel (x, y) is shown at (a x + c y, b x + d y)."""
    data = path.read_bytes()
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    at = data.index(identity, data.index(b"tkhd"))
    path.write_bytes(
        data[:at] + struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30) + data[at + 36 :]
    )


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes, int]]:
    """Yields (start, name, end) of the boxes of an mp4."""
    while start + 8 <= end:
        size, name = struct.unpack(">I4s", data[start : start + 8])
        yield start, name, start + size
        start += size


def name_channels(path: Path, labels: Sequence[int]) -> None:
    """Names each channel of a mov's audio in a `chan` box of the file's own (0: unused); `moov` is its last box."""
    data = path.read_bytes()
    at = data.index(b"chan") - 4
    old = struct.unpack(">I", data[at : at + 4])[0]
    body = struct.pack(">4I", 0, 0, 0, len(labels)) + b"".join(struct.pack(">2I3f", n, 0, 0, 0, 0) for n in labels)
    new = bytearray(data[:at] + struct.pack(">I4s", len(body) + 8, b"chan") + body + data[at + old :])
    spans = [(0, len(data))]
    while spans:
        for start, name, end in _boxes(data, *spans.pop()):
            if start < at < end:
                new[start : start + 4] = struct.pack(">I", end - start + len(body) + 8 - old)
                if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"):
                    spans.append((start + (16 if name == b"stsd" else 8), end))
    path.write_bytes(bytes(new))
