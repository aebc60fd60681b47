"""Reading of video files by PyAV: their properties, and a stream of their frames.

Everything is decoded in order (random seeking is inexact in some containers) in bounded memory, whatever the length of
the file. Times are seconds after the first video frame. Audio is read by `avsd_jax.media.audio`, whose functions are
exported here, too.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from jaxtyping import Float64, UInt16

from avsd_jax.media.audio import AudioWindow, no_frame, read_audio, stream_audio
from avsd_jax.media.clock import Clock
from avsd_jax.media.container import AudioInfo, FrameReader, audio_info, audio_stream, open_media, video_stream
from avsd_jax.media.orientation import orientation

__all__ = [
    "Frame",
    "FrameCount",
    "AudioInfo",
    "AudioWindow",
    "VideoInfo",
    "count_frames",
    "frame_times",
    "open_media",
    "probe",
    "read_audio",
    "read_frames",
    "read_levels",
    "stream_audio",
    "audio_info",
    "bits_per_level",
    "audio_stream",
]

_NOMINAL_FPS = 25.0
# A higher rate in a container is a clock, not a frame rate.
_MAX_FPS = 1000
# Time stamps are rounded, to milliseconds in many files.
_ROUNDED_SECONDS = 0.0015


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video file.

    Attributes:
        path: the file.
        codec: the video codec's name.
        width: pixels, as displayed (in the orientation that the file states).
        height: pixels, as displayed.
        fps: frames per second, the mean if the frame rate is variable.
        duration: seconds, as the container states; None if it does not.
        num_frames: number of frames in the container's header, else of packets with data; None if unknown.
        pixel_aspect: width of a displayed pixel over its height.
        start: the first frame's time on the container's clock, in seconds: zero of all other times.
        audio: the audio track, or None.
        audio_as_stored: whether the audio can be copied packet by packet: its time stamps and samples are valid. None
            if not checked (`avsd_jax.media.survey` does).
    """

    path: Path
    codec: str
    width: int
    height: int
    fps: float
    duration: float | None
    num_frames: int | None
    pixel_aspect: Fraction
    start: float
    audio: AudioInfo | None
    audio_as_stored: bool | None = None


class Frame(NamedTuple):
    """A decoded frame: number from 0, seconds after the first frame, RGB uint8 [height, width, 3]."""

    index: int
    time: float
    image: np.ndarray


def _stated_fps(stream: av.VideoStream) -> float | None:
    return next((float(r) for r in (stream.average_rate, stream.guessed_rate, stream.base_rate) if r and r > 0), None)


class Packets(NamedTuple):
    """Information from the packets of a file: the sorted times of its frames in seconds, and the final clock."""

    frames: int
    times: Float64[np.ndarray, " n"]
    clock: Clock

    def fps(self, stated: float | None) -> float:
        """Returns the frames per second: of nine tenths of the frames if these are regular, else the mean.

        So a pause or a discontinuity in a file of constant rate has no effect, and neither has the rate that the
        container states, unless it is right up to the rounding of the time stamps.
        """
        steps = np.diff(self.times)
        steps = steps[steps > 0]
        if not len(steps):
            return stated if stated and stated < _MAX_FPS else _NOMINAL_FPS
        usual = np.median(steps)
        regular = steps[np.abs(steps - usual) <= max(0.1 * usual, _ROUNDED_SECONDS)]
        rate = float(1 / (regular if len(regular) >= 0.9 * len(steps) else steps).mean())
        # If the two fields of an image are separate packets, there are twice as many.
        agrees = stated and any(abs(k * stated - rate) <= 0.01 * rate for k in (1, 2))
        return stated if agrees else rate


def scan_packets(path: Path) -> Packets:
    """Reads all packets of a file, without decoding them."""
    with open_media(path) as container:
        reader = FrameReader(container, video_stream(container, path))
        frames, times = 0, array("d")
        for packet in reader.packets():
            stamp = packet.dts if packet.pts is None else packet.pts
            frames += 1
            if stamp is not None:
                times.append(float(stamp * packet.time_base))
        return Packets(frames, np.sort(np.frombuffer(times, np.float64)), reader.clock)


def probe(path: str | Path) -> VideoInfo:
    """Describes a video file; decodes its first frame only.

    Of several streams of a kind, FFmpeg's preferred one is read (the largest image). If the
    container does not count its frames, all packets are read to determine their mean rate.

    Raises:
        InputError: the file is missing or damaged, or has no video stream that can be decoded.
    """
    path = Path(path)
    with open_media(path) as container:
        stream = video_stream(container, path)
        first = next(iter(FrameReader(container, stream)), None)
        if first is None:
            raise no_frame(path)
        stated = _stated_fps(stream)
        duration = stream.duration * stream.time_base if stream.duration else None
        if duration is None and container.duration:
            duration = container.duration / av.time_base
        width, height, aspect = first.width, first.height, stream.sample_aspect_ratio or Fraction(1)
        if orientation(first).transpose:
            width, height, aspect = height, width, 1 / aspect
        audio = audio_stream(container)
        counted = stream.frames and stated
        packets = None if counted else scan_packets(path)
        return VideoInfo(
            path=path,
            codec=stream.codec_context.name,
            width=width,
            height=height,
            fps=stated if counted else packets.fps(stated),
            duration=None if duration is None else float(duration),
            num_frames=stream.frames if counted else packets.frames or None,
            pixel_aspect=Fraction(aspect),
            start=first.time or 0.0,
            audio=None if audio is None else audio_info(container, audio),
        )


class FrameCount(NamedTuple):
    """Numbers of frames: as the container states, None if it does not, and of decodable ones."""

    stated: int | None
    decoded: int


def count_frames(path: str | Path) -> FrameCount:
    """Counts the frames of a video by decoding all of them: `read_frames` yields `decoded`.

    Raises:
        InputError: the file is missing or damaged, or has no video stream that can be decoded.
    """
    with open_media(path) as container:
        stream = video_stream(container, path)
        decoded = sum(1 for _ in FrameReader(container, stream))
        if not decoded:
            raise no_frame(path)
        return FrameCount(stream.frames or None, decoded)


def read_frames(path: str | Path) -> Iterator[Frame]:
    """Yields the frames of a video in display order.

    A variable frame rate is kept: frames have their own times, which increase strictly. The
    orientation that the file states is applied; if size or orientation change within the file, the displayed size of
    the first frame is kept.

    Raises:
        InputError: the file is missing or damaged, or has no video stream that can be decoded.
    """
    with open_media(path) as container:
        size = None
        for index, (time, frame) in enumerate(_timed(container, path)):
            turned = orientation(frame)
            size = size or displayed_size(frame)
            width, height = reversed(size) if turned.transpose else size
            yield Frame(index, time, turned.apply(frame.to_ndarray(format="rgb24", width=width, height=height)))


def bits_per_level(path: str | Path) -> int:
    """Returns the bits of each component of a video's pixels.

    Raises:
        InputError: the file is missing or damaged, or has no video stream.
    """
    with open_media(path) as container:
        components = video_stream(container, path).codec_context.format.components
        return max(component.bits for component in components)


def read_levels(path: str | Path) -> Iterator[UInt16[np.ndarray, "height width"]]:
    """Yields the luma of a grey video's frames in display order, at 16 bits: 0 is black and 65535 white.

    Videos of 10 and 12 bits keep all of their levels, which `read_frames` rounds to 8 bits. Codes of limited range, as
    H.264 usually has them, are spread over the whole; orientation and size as in `read_frames`.

    Raises:
        InputError: the file is missing or damaged, or has no video stream that can be decoded.
    """
    with open_media(path) as container:
        size = None
        for _, frame in _timed(container, path):
            turned = orientation(frame)
            size = size or displayed_size(frame)
            width, height = reversed(size) if turned.transpose else size
            yield turned.apply(frame.to_ndarray(format="gray16le", width=width, height=height))


def frame_times(path: str | Path) -> Float64[np.ndarray, " n"]:
    """Returns the times of the frames that `read_frames` yields, without their images.

    Raises:
        InputError: the file is missing or damaged, or has no video stream that can be decoded.
    """
    with open_media(path) as container:
        return np.array([time for time, _ in _timed(container, path)])


def _timed(container: av.container.InputContainer, path: str | Path) -> Iterator[tuple[float, av.VideoFrame]]:
    return timed_frames(FrameReader(container, video_stream(container, path)), path)


def timed_frames(reader: FrameReader, path: str | Path) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yields the decoded frames of a reader with their times, which increase strictly from 0.

    Raises:
        InputError: there is no frame; the message names `path`.
    """
    step = 1 / min(max(_stated_fps(reader.stream) or _NOMINAL_FPS, 1), _MAX_FPS)
    start, previous = 0.0, None
    for frame in reader:
        if previous is None:
            start = frame.time or 0.0
        # Old containers omit some times, and damaged ones may reverse them.
        time = None if frame.time is None else frame.time - start
        if previous is None:
            time = 0.0
        elif time is None or time <= previous:
            time = previous + step
        elif time - previous < 1:
            step = time - previous
        previous = time
        yield time, frame
    if previous is None:
        raise no_frame(path)


def displayed_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Returns the width and height of a frame as it is displayed."""
    return (frame.height, frame.width) if orientation(frame).transpose else (frame.width, frame.height)
