"""Writing of an mp4 file with the audio of another file."""

import contextlib
import math
import os
import uuid
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from jaxtyping import UInt8

from avsd_jax.errors import InputError, storage_error
from avsd_jax.media.reading import VideoInfo, audio_stream, open_media, stream_audio
from avsd_jax.media.survey import listen

# Audio codecs that mp4 players commonly support; others are encoded again as AAC.
COPIED_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"})
_AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000})
_TICKS = Fraction(1, 90_000)
# Audio packets before the first frame that are kept: an encoder's priming samples, which players skip.
_RUN_IN_SECONDS = 0.1
# Rec. 709 in the codes of the H.264 standard (tables E-3 to E-5).
_REC709 = 1
# Levels 0 to 255, as JPEG has them, in the codes of FFmpeg.
_FULL_RANGE = 2
_GREY_QUANTISER = "4"


def _copied(
    container: av.container.InputContainer, source: av.AudioStream, target: av.AudioStream, origin: float
) -> Iterator[tuple[float, av.Packet]]:
    """Yields the source's own packets, on the clock whose zero is `origin`."""
    shift = round(origin / source.time_base)
    for packet in container.demux(source):
        if not packet.size or packet.pts is None:
            continue
        time = float(packet.pts * packet.time_base) - origin
        if time < -_RUN_IN_SECONDS:
            continue
        packet.pts -= shift
        packet.dts = packet.pts if packet.dts is None else packet.dts - shift
        packet.stream = target
        yield time, packet


def _transcoded(
    path: Path, target: av.AudioStream, rate: int, layout: str, origin: float
) -> Iterator[tuple[float, av.Packet]]:
    """Yields the source's audio encoded again, on the clock whose zero is `origin`."""
    position = 0
    for samples in stream_audio(path, rate, layout, origin):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), position
        for packet in target.encode(frame):
            yield position / rate, packet
        position += samples.shape[1]
    for packet in target.encode(None):
        yield position / rate, packet


def _can_be_copied(source: VideoInfo) -> bool:
    """Returns whether an mp4 accepts the source's audio packets unchanged; tried without writing a file."""
    if source.audio.codec not in COPIED_AUDIO:
        return False
    in_order = listen(source).as_stored if source.audio_as_stored is None else source.audio_as_stored
    if not in_order:
        return False
    try:
        with open_media(source.path) as container, av.open(f"file:{os.devnull}", "w", format="mp4") as trial:
            stream = audio_stream(container)
            for _, packet in _copied(container, stream, trial.add_stream_from_template(stream), source.start):
                trial.mux(packet)
    except (av.error.FFmpegError, ValueError):
        return False
    return True


class VideoWriter:
    """Writes frames to an mp4 file (H.264, yuv420p) with the audio of their source video.

    It is a context manager. The file gets its name only when the block ends without an error; until then it
    has a temporary name, and an error removes it. Audio is copied unchanged if mp4 supports its codec
    and its time stamps are valid, else decoded, placed by its time stamps and encoded as AAC. Odd sizes are padded to
    even ones by repeating the last row or column.

    Args:
        path: the file to write; an existing one is replaced.
        source: the video whose audio, rate and pixel aspect are used.
        width: pixels of the frames.
        height: pixels of the frames.
        sound_to_the_end: whether the audio goes on after the last frame, as it does in the source.
    """

    def __init__(self, path: str | Path, source: VideoInfo, width: int, height: int, *, sound_to_the_end: bool = True):
        self._path = Path(path)
        self._last_seconds = math.inf if sound_to_the_end else 1 / source.fps
        self._pad = ((0, height % 2), (0, width % 2), (0, 0))
        self._shape = (height, width, 3)
        self._last_pts = -1
        self._input = None
        try:
            # Its name has a fixed length: the target's may be as long as the disk allows.
            self._temporary = self._path.with_name(f".video-{uuid.uuid4().hex}.partial")
            self._temporary.touch(exist_ok=False)
        except OSError as error:
            raise storage_error(error, self._path) or InputError(
                f"{self._path} cannot be written ({error.strerror}): give another folder"
            ) from error
        self._output = av.open(f"file:{self._temporary}", "w", format="mp4", options={"movflags": "+faststart"})
        try:
            self._add_images(source, width + width % 2, height + height % 2)
            self._audio = self._add_audio(source)
            self._next_audio = next(self._audio, None)
        except BaseException:
            self._discard()
            raise

    def _add_images(self, source: VideoInfo, width: int, height: int) -> None:
        self._fps = Fraction(source.fps).limit_denominator(100_000)
        self._video = self._output.add_stream("libx264", rate=self._fps, options={"preset": "veryfast", "crf": "20"})
        self._video.width, self._video.height, self._video.pix_fmt = width, height, "yuv420p"
        context = self._video.codec_context
        context.time_base = _TICKS
        context.sample_aspect_ratio = source.pixel_aspect
        context.colorspace = context.color_primaries = context.color_trc = _REC709

    def _add_audio(self, source: VideoInfo) -> Iterator[tuple[float, av.Packet]]:
        if source.audio is None:
            return iter(())
        if _can_be_copied(source):
            self._input = open_media(source.path)
            stream = audio_stream(self._input)
            target = self._output.add_stream_from_template(stream)
            return _copied(self._input, stream, target, source.start)
        rate = source.audio.sample_rate if source.audio.sample_rate in _AAC_RATES else 48_000
        layout = "mono" if source.audio.channels == 1 else "stereo"
        target = self._output.add_stream("aac", rate=rate)
        target.layout = layout
        return _transcoded(source.path, target, rate, layout, source.start)

    def __enter__(self) -> "VideoWriter":
        return self

    def write(self, image: UInt8[np.ndarray, "h w 3"], time: float) -> None:
        """Appends a frame displayed from `time` seconds after the first one; times must increase."""
        if image.shape != self._shape:
            raise ValueError(f"frame of shape {image.shape} in a video of {self._shape}")
        padded = np.pad(image, self._pad, mode="edge") if any(map(any, self._pad)) else image
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
        frame.time_base = _TICKS
        frame.pts = self._last_pts = max(self._last_pts + 1, round(time / _TICKS))
        self._output.mux(self._video.encode(frame))
        self._mux_audio(time)

    def _mux_audio(self, until: float) -> None:
        # In step with the images: the muxer buffers whatever is ahead of the other stream.
        while self._next_audio is not None and self._next_audio[0] <= until:
            self._output.mux(self._next_audio[1])
            self._next_audio = next(self._audio, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self._output.mux(self._video.encode(None))
            self._mux_audio(max(0, self._last_pts) * float(_TICKS) + self._last_seconds)
            self._close()
            self._temporary.replace(self._path)
        except BaseException:
            self._discard()
            raise

    def _close(self) -> None:
        self._output.close()
        if self._input is not None:
            self._input.close()

    def _discard(self) -> None:
        # The file is removed anyway: only the original error matters.
        with contextlib.suppress(av.error.FFmpegError):
            self._close()
        self._temporary.unlink(missing_ok=True)


class GreyVideoWriter:
    """Writes grey images to an mp4 file almost without loss (H.264, 8 bits of full range).

    Levels are off by at most 2 of 255. Quantiser 0 would be exact and no slower, but in another profile (High 4:4:4
    Predictive), which browsers show black.

    Args:
        path: the file to write.
        source: the video whose rate and pixel aspect are used.
    """

    def __init__(self, path: Path, source: VideoInfo):
        self._output = av.open(f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"})
        rate = Fraction(source.fps).limit_denominator(100_000)
        self._video = self._output.add_stream(
            "libx264", rate=rate, options={"preset": "veryfast", "qp": _GREY_QUANTISER}
        )
        self._video.pix_fmt = "gray"
        context = self._video.codec_context
        context.time_base, context.sample_aspect_ratio = _TICKS, source.pixel_aspect
        context.color_range = _FULL_RANGE
        self._origin: float | None = None
        self._last_pts = -1

    def write(self, image: UInt8[np.ndarray, "h w"], time: float) -> None:
        """Appends an image displayed from `time` seconds on; times must increase, the first is 0 in the file."""
        if self._origin is None:
            self._origin = time
            self._video.height, self._video.width = image.shape
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="gray")
        frame.color_range, frame.time_base = _FULL_RANGE, _TICKS
        frame.pts = self._last_pts = max(self._last_pts + 1, round((time - self._origin) / _TICKS))
        self._output.mux(self._video.encode(frame))

    def close(self) -> None:
        """Completes the file."""
        self._output.mux(self._video.encode(None))
        self._output.close()
