"""Audio of media files as one waveform, aligned with the time stamps of the frames.

The samples are placed by their time stamps: a running comparison with the samples written so far inserts silence or
drops samples wherever the two differ by more than `TOLERANCE_SECONDS`, so that they never drift apart.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from jaxtyping import Float, Float32

from avsd_jax.errors import InputError
from avsd_jax.media.container import FrameReader, audio_stream, has_video, open_media, video_stream

# Time stamps are rounded, to milliseconds in many files: smaller differences are ignored.
TOLERANCE_SECONDS = 0.015
# The time stamps after a block must differ in the same way for this long: shorter differences are jitter.
_LASTING_SECONDS = 0.2
_LASTING_BLOCKS = 64
_FLOATS = ("flt", "fltp", "dbl", "dblp")
# From this number of channels on, PyAV 18 reads beyond the memory of a planar frame: such frames are packed first.
_TOO_MANY_PLANES = 8


class Block(NamedTuple):
    """A decoded block of audio.

    Attributes:
        frame: its finite samples.
        time: its start in seconds on the frames' clock.
        begins: whether it does not continue the previous block: different sample rate, channels or format, or
            a gap.
    """

    frame: av.AudioFrame
    time: float
    begins: bool


def _seconds(frame: av.AudioFrame) -> float:
    return frame.samples / frame.sample_rate


class Blocks:
    """The decoded audio of a file, block by block, each with its time on the frames' clock.

    Attributes:
        samples: number of samples so far.
        replaced: how many of them were not finite and are silenced.
        unstamped: number of blocks without a time stamp, or with one that does not increase.
        runs: number of blocks that began a run.

    Args:
        reader: the decoded frames of the audio track.
        origin: the zero of the frames' clock on the container's, in seconds.
    """

    def __init__(self, reader: Iterable[av.AudioFrame], origin: float):
        self._reader = reader
        self._origin = origin
        self.samples = self.replaced = self.unstamped = self.runs = 0

    def __iter__(self) -> Iterator[Block]:
        source, expected, last = None, 0.0, None
        frames = iter(self._reader)
        ahead: deque[av.AudioFrame] = deque()
        while True:
            self._read_ahead(frames, ahead)
            if not ahead:
                return
            frame = ahead.popleft()
            stamp = self._stamp(frame)
            increases = stamp is not None and (last is None or stamp > last)
            self.unstamped += not increases
            last = last if stamp is None else stamp
            kind = (frame.format.name, frame.layout.name, frame.sample_rate)
            if source is None:
                time = stamp or 0.0
            else:
                time = self._place(frame, stamp, ahead, expected) if increases else expected
            begins = kind != source or time != expected
            self.samples += frame.samples
            self.runs += begins
            yield Block(self._finite(frame), time, begins)
            source, expected = kind, time + _seconds(frame)

    @staticmethod
    def _read_ahead(frames: Iterator[av.AudioFrame], ahead: deque[av.AudioFrame]) -> None:
        """Reads a block, and enough after it to decide whether a difference lasts."""
        seconds = sum(map(_seconds, itertools.islice(ahead, 1, None)))
        while len(ahead) < 2 or (seconds < _LASTING_SECONDS and len(ahead) < _LASTING_BLOCKS):
            frame = next(frames, None)
            if frame is None:
                return
            if frame.samples and frame.sample_rate:
                seconds += _seconds(frame) if ahead else 0.0
                ahead.append(frame)

    def _stamp(self, frame: av.AudioFrame) -> float | None:
        return None if frame.time is None else frame.time - self._origin

    def _place(self, frame: av.AudioFrame, stamp: float, ahead: Iterable[av.AudioFrame], expected: float) -> float:
        """Returns the time of a block that is expected at `expected`: a difference counts if it lasts."""
        apart, after = stamp - expected, expected + _seconds(frame)
        if abs(apart) <= TOLERANCE_SECONDS:
            return expected
        for following in ahead:
            then = self._stamp(following)
            if then is not None:
                apart = min(apart, then - after, key=abs) if apart * (then - after) > 0 else 0.0
            after += _seconds(following)
        return expected + apart if abs(apart) > TOLERANCE_SECONDS else expected

    def _finite(self, frame: av.AudioFrame) -> av.AudioFrame:
        """Silences the samples that are not finite, and clips those beyond [-1, 1], as players do."""
        if frame.format.name not in _FLOATS:
            return frame
        frame = _packed(frame)
        values = frame.to_ndarray()
        if np.abs(values).max() <= 1:  # false if there is a NaN
            return frame
        wrong = ~np.isfinite(values)
        channels = wrong if frame.format.is_planar else wrong.reshape(-1, frame.layout.nb_channels).T
        self.replaced += int(np.count_nonzero(channels.any(0)))
        values = np.where(wrong, 0, np.clip(values, -1, 1)).astype(values.dtype)
        return _like(frame, values, frame.format.name, frame.layout.name)


def _packed(frame: av.AudioFrame) -> av.AudioFrame:
    """Returns the frame with interleaved channels if NumPy cannot read them as planes."""
    if not frame.format.is_planar or frame.layout.nb_channels < _TOO_MANY_PLANES:
        return frame
    (packed,) = av.AudioResampler(format=frame.format.packed.name).resample(frame)
    return packed


def _like(frame: av.AudioFrame, values: np.ndarray, form: str, layout: str) -> av.AudioFrame:
    """Builds a frame of other samples at the same rate."""
    out = av.AudioFrame.from_ndarray(np.ascontiguousarray(values), format=form, layout=layout)
    out.sample_rate, out.time_base, out.pts = frame.sample_rate, frame.time_base, frame.pts
    return out


class _Resampler:
    """Resamples one run of audio to a rate and, on request, a channel layout.

    Channels of unknown position (FFmpeg's "4 channels") cannot be mixed to a layout by position: their mean is used.
    """

    def __init__(self, rate: int, layout: str | None):
        self._rate, self._layout = rate, layout
        self._resampler: av.AudioResampler | None = None
        self._mixer: av.AudioResampler | None = None

    def push(self, frame: av.AudioFrame) -> Iterator[Float32[np.ndarray, "channels s"]]:
        frames = [frame]
        if self._layout is not None and frame.layout.name.endswith(" channels"):
            self._mixer = self._mixer or av.AudioResampler(format="flt")
            mixed = (each for each in self._mixer.resample(frame) if each is not None)
            frames = [_like(each, _samples(each).mean(0, keepdims=True), "fltp", "mono") for each in mixed]
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="flt", layout=self._layout, rate=self._rate)
        for each in frames:
            yield from self._through(each)

    def flush(self) -> Iterator[Float32[np.ndarray, "channels s"]]:
        if self._resampler is not None:
            yield from self._through(None)

    def _through(self, frame: av.AudioFrame | None) -> Iterator[Float32[np.ndarray, "channels s"]]:
        # A resampler that changes nothing returns the None that ends a run.
        for piece in self._resampler.resample(frame):
            if piece is not None and piece.samples:
                yield np.clip(_samples(piece), -1, 1)


def _samples(frame: av.AudioFrame) -> Float32[np.ndarray, "channels s"]:
    """Returns the samples of a frame in FFmpeg's format "flt"."""
    return frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T


class _Piece(NamedTuple):
    """Resampled audio: the number of its first sample on the frames' clock, and the samples."""

    start: int
    samples: Float32[np.ndarray, "channels s"]


def _pieces(path: str | Path, rate: int, layout: str | None, origin: float | None) -> Iterator[_Piece]:
    """Yields resampled audio that starts at sample 0 or later, in order and without overlaps; gaps are left out.

    Raises:
        InputError: the file is missing or damaged, or has no audio track that can be resampled to `rate`.
    """
    with open_media(path) as container:
        stream = audio_stream(container)
        if stream is None:
            raise no_audio(path)
        if origin is None:
            origin = float((stream.start_time or 0) * stream.time_base)
        stop = 0
        try:
            for start, samples in _resampled(Blocks(FrameReader(container, stream), origin), rate, layout):
                kept = samples[:, max(0, stop - start) :]
                if kept.shape[1]:
                    start, stop = max(start, stop), max(start, stop) + kept.shape[1]
                    yield _Piece(start, kept)
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"the audio of {path} cannot be resampled to {rate} samples per second ({error}): export it again"
            ) from error


def _resampled(blocks: Iterable[Block], rate: int, layout: str | None) -> Iterator[_Piece]:
    resampler, position = _Resampler(rate, layout), 0
    for block in itertools.chain(blocks, (None,)):
        if block is None or block.begins:
            # The resampler is flushed at the end of a run before the next one starts.
            for samples in resampler.flush():
                yield _Piece(position, samples)
                position += samples.shape[1]
        if block is None:
            return
        if block.begins:
            resampler, position = _Resampler(rate, layout), round(block.time * rate)
        for samples in resampler.push(block.frame):
            yield _Piece(position, samples)
            position += samples.shape[1]


def no_frame(path: str | Path) -> InputError:
    """Returns the error for a file without video frames."""
    return InputError(f"{path} holds no video frame that can be decoded: check that it is whole, or export it again")


def no_audio(path: str | Path) -> InputError:
    """Returns the error for a file without audio."""
    return InputError(f"{path} has no audio track: give a file with audio")


def stream_audio(
    path: str | Path, rate: int, layout: str | None = None, origin: float | None = None
) -> Iterator[Float32[np.ndarray, "channels s"]]:
    """Yields the audio track as consecutive pieces of one waveform.

    Args:
        path: the file.
        rate: requested samples per second.
        layout: requested channel layout; None for the file's own.
        origin: time on the container's clock, in seconds, of the first sample. Audio before it is
            dropped; if the track starts later, or has gaps, there is silence. None: the track's start.

    Yields:
        float32 samples in [-1, 1], at most a second at a time.

    Raises:
        InputError: the file is missing or damaged, or has no audio track.
    """
    position = 0
    for start, samples in _pieces(path, rate, layout, origin):
        while position < start:
            silence = np.zeros((samples.shape[0], min(rate, start - position)), np.float32)
            position += silence.shape[1]
            yield silence
        position += samples.shape[1]
        yield samples


def read_audio(path: str | Path, rate: int | None = None) -> tuple[Float32[np.ndarray, " s"], int]:
    """Reads a whole audio track, as the mean of its channels.

    Args:
        path: a video or audio file.
        rate: requested samples per second; None for the file's own.

    Returns:
        `(waveform [s] in [-1, 1], rate)`.

    Raises:
        InputError: the file is missing or damaged, or has no audio track.
    """
    with open_media(path) as container:
        stream = audio_stream(container)
        if stream is None:
            raise no_audio(path)
        rate = rate or stream.codec_context.sample_rate
        with_pictures = has_video(container)
    origin = start_time(path) if with_pictures else None
    pieces = [piece.mean(0) for piece in stream_audio(path, rate, origin=origin)]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32), rate


def start_time(path: str | Path) -> float:
    """Returns the first frame's time on the container's clock, in seconds: zero of all other times.

    Raises:
        InputError: the file is missing or damaged, or has no video stream that can be decoded.
    """
    with open_media(path) as container:
        first = next(iter(FrameReader(container, video_stream(container, path))), None)
        if first is None:
            raise no_frame(path)
        return first.time or 0.0


class AudioWindow:
    """The audio of a file, as the mean of its channels, in a window that only moves forward.

    Sample s is the one at s / rate seconds after the first video frame. Only the samples that may still be
    requested are held: the caller releases the others by `forget`. Gaps take no memory.
    """

    def __init__(self, path: str | Path, rate: int, origin: float):
        self._read(rate, _pieces(path, rate, None, origin))

    @classmethod
    def of_blocks(cls, blocks: Iterable[Block], rate: int) -> "AudioWindow":
        """Returns the window of audio that is not in a file: blocks in order, resampled to a rate."""
        window = cls.__new__(cls)
        window._read(rate, _resampled(blocks, rate, None))
        return window

    def _read(self, rate: int, source: Iterator[_Piece]) -> None:
        self.rate = rate
        self._source = source
        self._pieces: deque[tuple[int, np.ndarray]] = deque()
        self._first = 0
        self._stop = 0
        self._ended = False

    @property
    def held(self) -> int:
        """Returns the number of samples in memory."""
        return sum(len(samples) for _, samples in self._pieces)

    def reach(self, stop: int) -> int:
        """Decodes up to sample `stop`; returns it, or the number of samples if the audio is shorter."""
        while self._stop < stop and not self._ended:
            piece = next(self._source, None)
            if piece is None:
                self._ended = True
            else:
                self._pieces.append((piece.start, piece.samples.mean(0)))
                self._stop = piece.start + piece.samples.shape[1]
        return min(stop, self._stop) if self._ended else stop

    def excerpt(self, start: int, stop: int) -> Float[np.ndarray, " s"]:
        """Returns the samples `start` to `stop` (exclusive), zero where there is no audio.

        Raises:
            ValueError: the excerpt begins before the samples that are held.
        """
        if max(start, 0) < self._first:
            raise ValueError(f"sample {start} was forgotten: the window starts at {self._first}")
        self.reach(stop)
        out = np.zeros(max(0, stop - start), np.float32)
        for position, piece in self._pieces:
            low, high = max(start, position), min(stop, position + len(piece))
            if low < high:
                out[low - start : high - start] = piece[low - position : high - position]
        return out

    def forget(self, before: int) -> None:
        """Releases the samples before number `before`; those that nobody asked for pass without being collected."""
        self._drop(before)
        while self._stop < before and not self._ended:
            self.reach(self._stop + 1)
            self._drop(before)

    def _drop(self, before: int) -> None:
        while self._pieces and self._pieces[0][0] + len(self._pieces[0][1]) <= before:
            position, samples = self._pieces.popleft()
            self._first = position + len(samples)

    def close(self) -> None:
        """Closes the file."""
        self._source.close()
