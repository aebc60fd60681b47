"""Reading of video files by PyAV: frames as they come, sound as one waveform on the frames' clock.

Everything is decoded in order (random seeking is inexact in some containers) and nothing keeps more than it
must, so memory does not grow with the length of a file. Times are seconds after the first video frame.
"""

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from jaxtyping import Float, Float32

from avsd_jax.errors import InputError

# Titles in an unknown encoding must not keep a video from being read; PyAV 19 takes care of that by itself.
_LENIENT = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
# A hole or overlap of the sound longer than this is a real one; shorter ones are rounded timestamps.
_GAP_SECONDS = 0.05
_NOMINAL_FPS = 25.0


@dataclass(frozen=True)
class SoundInfo:
    """The sound track that is read: codec name, samples per second, number of channels."""

    codec: str
    sample_rate: int
    channels: int


@dataclass(frozen=True)
class VideoInfo:
    """What a file holds.

    Attributes:
        path: the file.
        codec: the video codec's name.
        width: pixels, as displayed (after the rotation that the file asks for).
        height: pixels, as displayed.
        fps: mean frames per second.
        duration: seconds, as the container states them; None where it does not.
        num_frames: number of frames, exact only where the container counts them; None where it is unknown.
        pixel_aspect: width of a displayed pixel over its height.
        start: the first frame's time on the container's clock, in seconds: zero of all other times.
        sound: the sound track, or None.
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
    sound: SoundInfo | None


class Frame(NamedTuple):
    """A decoded frame: number from 0, seconds after the first frame, RGB uint8 [height, width, 3]."""

    index: int
    time: float
    image: np.ndarray


def open_media(path: str | Path) -> av.container.InputContainer:
    """Opens a media file.

    Raises:
        InputError: there is no such file, or it is not one that FFmpeg reads.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the path of a video file")
    if not path.exists():
        raise InputError(f"{path} does not exist: give the path of a video file")
    try:
        # "file:" keeps a colon in a name from being read as a protocol.
        return av.open(f"file:{path}", **_LENIENT)
    except (av.error.FFmpegError, OSError) as error:
        kind, form = ("sound", "wav") if path.suffix.lower() == ".wav" else ("a video", "mp4")
        raise InputError(
            f"{path} cannot be read as {kind} ({error.strerror or error}): "
            f"check that it is whole, or export it again, for example as {form}"
        ) from error


def _video_stream(container: av.container.InputContainer, path: str | Path) -> av.VideoStream:
    # A cover picture is a video stream by its type only.
    pictures = [s for s in container.streams.video if s.disposition & av.stream.Disposition.attached_pic]
    best = container.streams.best("video")
    if best is None or best in pictures:
        raise InputError(f"{path} has no video stream: give a file with pictures")
    if best.codec_context is None:
        raise InputError(f"{path} has an unknown video codec: export it again, for example as mp4")
    best.thread_type = "AUTO"
    return best


def sound_stream(container: av.container.InputContainer) -> av.AudioStream | None:
    """The sound track that belongs to the video stream, or None."""
    best = container.streams.best("audio", related=container.streams.best("video"))
    return None if best is None or best.codec_context is None or not best.codec_context.sample_rate else best


def _decoded(container: av.container.InputContainer, stream: av.stream.Stream) -> Iterator[av.frame.Frame]:
    """All frames of a stream that can be decoded: a damaged packet costs its own frames only."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:  # the file breaks off: what came before it is good
            return
        if packet is None:
            return
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            continue


def _no_frame(path: str | Path) -> InputError:
    return InputError(f"{path} holds no video frame that can be decoded: check that it is whole, or export it again")


def _no_sound(path: str | Path) -> InputError:
    return InputError(f"{path} has no sound track: give a file with sound")


def _rotation(frame: av.VideoFrame) -> int:
    """Quarter turns anticlockwise that the file asks for."""
    return round(frame.rotation / 90) % 4


def _fps(stream: av.VideoStream) -> float:
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= 1000:
            return float(rate)
    return _NOMINAL_FPS


def _sound_info(context: av.AudioCodecContext) -> SoundInfo:
    return SoundInfo(context.name, context.sample_rate, context.channels)


def probe(path: str | Path) -> VideoInfo:
    """Describes a video file; decodes its first frame only.

    Of several streams of a kind the one is read that FFmpeg takes for the best (the largest picture).

    Raises:
        InputError: the file is missing or damaged, or has no video stream that can be decoded.
    """
    path = Path(path)
    with open_media(path) as container:
        stream = _video_stream(container, path)
        first = next(_decoded(container, stream), None)
        if first is None:
            raise _no_frame(path)
        fps = _fps(stream)
        duration = stream.duration * stream.time_base if stream.duration else None
        if duration is None and container.duration:
            duration = container.duration / av.time_base
        aspect = stream.sample_aspect_ratio or Fraction(1)
        width, height = first.width, first.height
        if _rotation(first) % 2:
            width, height, aspect = height, width, 1 / aspect
        sound = sound_stream(container)
        return VideoInfo(
            path=path,
            codec=stream.codec_context.name,
            width=width,
            height=height,
            fps=fps,
            duration=None if duration is None else float(duration),
            num_frames=stream.frames or (None if duration is None else max(1, round(float(duration) * fps))),
            pixel_aspect=Fraction(aspect),
            start=first.time or 0.0,
            sound=None if sound is None else _sound_info(sound.codec_context),
        )


class FrameCount(NamedTuple):
    """Numbers of frames: as the container states it, None where it does not, and as they can be decoded."""

    stated: int | None
    decoded: int


def count_frames(path: str | Path) -> FrameCount:
    """Counts the frames of a video by decoding all of them: `read_frames` yields `decoded`.

    Raises:
        InputError: the file is missing or damaged, or has no video stream that can be decoded.
    """
    with open_media(path) as container:
        stream = _video_stream(container, path)
        decoded = sum(1 for _ in _decoded(container, stream))
        if not decoded:
            raise _no_frame(path)
        return FrameCount(stream.frames or None, decoded)


def read_frames(path: str | Path) -> Iterator[Frame]:
    """Yields the frames of a video in order of display.

    A variable frame rate is kept: frames come as they are, with their times, which increase strictly. The
    rotation that the file asks for is applied; where the size changes on the way, the first one is kept.

    Raises:
        InputError: the file is missing or damaged, or has no video stream that can be decoded.
    """
    with open_media(path) as container:
        stream = _video_stream(container, path)
        step = 1 / _fps(stream)
        start, previous, size = 0.0, None, None
        for index, frame in enumerate(_decoded(container, stream)):
            if previous is None:
                start, size = frame.time or 0.0, (frame.width, frame.height)
            # Old containers leave out some times, and a damaged one may turn them round.
            time = None if frame.time is None else frame.time - start
            if previous is None:
                time = 0.0
            elif time is None or time <= previous:
                time = previous + step
            previous = time
            image = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
            yield Frame(index, time, np.ascontiguousarray(np.rot90(image, _rotation(frame))))
        if previous is None:
            raise _no_frame(path)


def _resampled(
    resampler: av.AudioResampler | None, frame: av.AudioFrame | None
) -> list[Float32[np.ndarray, "channels s"]]:
    out = resampler.resample(frame) if resampler else []
    # A resampler that has nothing to change hands the None that ends a run back.
    return [piece.to_ndarray() for piece in out if piece is not None]


def _pieces(
    container: av.container.InputContainer,
    stream: av.AudioStream,
    rate: int,
    layout: str | None,
    origin: float,
) -> Iterator[tuple[int, Float32[np.ndarray, "channels s"]]]:
    """Resampled sound with the number of each piece's first sample on the frames' clock."""
    resampler, source, position, expected = None, None, 0, 0.0
    for frame in itertools.chain(_decoded(container, stream), (None,)):
        if frame is None:
            time, kind = expected, None
        else:
            time = expected if frame.time is None else frame.time - origin
            kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != source or abs(time - expected) > _GAP_SECONDS:
            # The run of sound that ends here is let out of the resampler before another one starts.
            for piece in _resampled(resampler, None):
                yield position, piece
                position += piece.shape[1]
            resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
            source, position = kind, round(time * rate)
        for piece in _resampled(resampler, frame):
            yield position, piece
            position += piece.shape[1]
        expected = time if frame is None else time + frame.samples / frame.sample_rate


def read_sound(
    path: str | Path, rate: int, layout: str | None = None, origin: float | None = None
) -> Iterator[Float32[np.ndarray, "channels s"]]:
    """Yields the sound track as consecutive pieces of one waveform.

    Args:
        path: the file.
        rate: samples per second wanted.
        layout: channel layout wanted; None for the file's own.
        origin: time on the container's clock, in seconds, of the first sample yielded. Sound before it is
            dropped; where the track starts later, or has holes, there is silence. None: the track's start.

    Yields:
        float32 samples in [-1, 1], at most a second at a time.

    Raises:
        InputError: the file is missing or damaged, or has no sound track.
    """
    with open_media(path) as container:
        stream = sound_stream(container)
        if stream is None:
            raise _no_sound(path)
        if origin is None:
            origin = float((stream.start_time or 0) * stream.time_base)
        position = 0
        for start, samples in _pieces(container, stream, rate, layout, origin):
            while position < start:
                silence = np.zeros((samples.shape[0], min(rate, start - position)), np.float32)
                position += silence.shape[1]
                yield silence
            samples = samples[:, max(0, position - start) :]
            if samples.shape[1]:
                position += samples.shape[1]
                yield samples


def read_audio(path: str | Path, rate: int | None = None) -> tuple[Float32[np.ndarray, " s"], int]:
    """Reads a whole sound track, as the mean of its channels.

    Args:
        path: a video or sound file.
        rate: samples per second wanted; None for the file's own.

    Returns:
        `(waveform [s] in [-1, 1], rate)`.

    Raises:
        InputError: the file is missing or damaged, or has no sound track.
    """
    with open_media(path) as container:
        stream = sound_stream(container)
        if stream is None:
            raise _no_sound(path)
        rate = rate or stream.codec_context.sample_rate
        with_pictures = any(not s.disposition & av.stream.Disposition.attached_pic for s in container.streams.video)
    origin = probe(path).start if with_pictures else None
    pieces = [piece.mean(0) for piece in read_sound(path, rate, origin=origin)]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32), rate


class SoundWindow:
    """The sound of a file, as the mean of its channels, in a window that only moves forward.

    Sample s is the one at s / rate seconds after the first video frame. Only the samples that may still be
    asked for are held: the caller says by `forget` which ones may go.
    """

    def __init__(self, path: str | Path, rate: int, origin: float):
        self.rate = rate
        self._source = read_sound(path, rate, origin=origin)
        self._pieces: deque[np.ndarray] = deque()
        self._first = 0
        self._stop = 0
        self._ended = False

    @property
    def held(self) -> int:
        """Number of samples in memory."""
        return self._stop - self._first

    def reach(self, stop: int) -> int:
        """Decodes up to sample `stop`; returns it, or the number of samples where the sound is shorter."""
        while self._stop < stop and not self._ended:
            piece = next(self._source, None)
            if piece is None:
                self._ended = True
            else:
                self._pieces.append(piece.mean(0))
                self._stop += piece.shape[1]
        return min(stop, self._stop) if self._ended else stop

    def excerpt(self, start: int, stop: int) -> Float[np.ndarray, " s"]:
        """Samples `start` to `stop` (exclusive), zero where there is no sound.

        Raises:
            ValueError: the excerpt begins in what was forgotten.
        """
        if max(start, 0) < self._first:
            raise ValueError(f"sample {start} was forgotten: the window starts at {self._first}")
        self.reach(stop)
        out = np.zeros(max(0, stop - start), np.float32)
        position = self._first
        for piece in self._pieces:
            low, high = max(start, position), min(stop, position + len(piece))
            if low < high:
                out[low - start : high - start] = piece[low - position : high - position]
            position += len(piece)
        return out

    def forget(self, before: int) -> None:
        """Lets the samples before number `before` go."""
        while self._pieces and self._first + len(self._pieces[0]) <= before:
            self._first += len(self._pieces.popleft())

    def close(self) -> None:
        """Closes the file."""
        self._source.close()
