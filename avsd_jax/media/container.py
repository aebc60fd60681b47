"""Opening of media files by PyAV: selection of streams, and frames on one continuous clock."""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.logging

from avsd_jax.errors import InputError
from avsd_jax.media.clock import Clock

# Titles in an unknown encoding must not prevent reading a video; PyAV 19 handles this by itself.
_LENIENT = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
# FFmpeg's description of channels in a custom order.
_OWN_ORDER = re.compile(r"(?m)^ +Stream #0:(\d+).*: Audio: .* (\d+) channels \(")


@dataclass(frozen=True)
class AudioInfo:
    """Properties of the audio track: codec name, samples per second, number of channels."""

    codec: str
    sample_rate: int
    channels: int


def open_media(path: str | Path, formats: str | None = None) -> av.container.InputContainer:
    """Opens a media file.

    Args:
        path: the file.
        formats: FFmpeg's names of the formats that it may have, separated by commas; by default any.

    Raises:
        InputError: there is no such file, or FFmpeg cannot read it.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise InputError(f"{path} is a folder: give the path of a video file")
    try:
        os.stat(path)
        # "file:" keeps a colon in a name from being read as a protocol.
        options = {} if formats is None else {"format_whitelist": formats}
        container = av.open(f"file:{path}", options=options, **_LENIENT)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: give the path of a video file") from error
    except (av.error.FFmpegError, OSError) as error:
        kind, form = ("audio", "wav") if path.suffix.lower() == ".wav" else ("a video", "mp4")
        raise InputError(
            f"{path} cannot be read as {kind} ({error.strerror or error}): "
            f"check that it is whole, or export it again, for example as {form}"
        ) from error
    if container.streams.audio:
        _own_orders(container)  # now, while no decoder thread runs
    return container


def _best_video(container: av.container.InputContainer) -> av.VideoStream | None:
    """Returns the video stream that FFmpeg prefers, excluding cover images."""
    best = container.streams.best("video")
    return None if best is None or best.disposition & av.stream.Disposition.attached_pic else best


def has_video(container: av.container.InputContainer) -> bool:
    """Returns whether a file has a video stream that is not a cover image."""
    return any(not stream.disposition & av.stream.Disposition.attached_pic for stream in container.streams.video)


def video_stream(container: av.container.InputContainer, path: str | Path) -> av.VideoStream:
    """Returns the video stream to read.

    Raises:
        InputError: there is none, or FFmpeg does not know its codec.
    """
    best = _best_video(container)
    if best is None:
        raise InputError(f"{path} has no video stream: give a file with images")
    if best.codec_context is None:
        raise InputError(f"{path} has an unknown video codec: export it again, for example as mp4")
    best.thread_type = "AUTO"
    return best


def audio_stream(container: av.container.InputContainer) -> av.AudioStream | None:
    """Returns the audio track that belongs to the video stream, or None."""
    best = container.streams.best("audio", related=container.streams.best("video"))
    return None if best is None or best.codec_context is None or not best.codec_context.sample_rate else best


def own_order(container: av.container.InputContainer, stream: av.AudioStream) -> int | None:
    """Returns the number of channels of a stream with a custom channel order; None for a standard order.

    Reading such a layout by PyAV 18 frees memory that it shares with FFmpeg, and the interpreter aborts. So
    FFmpeg's description of the file is parsed instead.
    """
    return _own_orders(container).get(stream.index)


# Of the most recent files, by name and state on disk.
_orders: dict[tuple[int | str, ...], dict[int, int]] = {}
_MOST_ORDERS = 64
# Longer than a thread waits for the interpreter lock once it is free.
_LET_THREADS_LOG_SECONDS = 0.01


def _own_orders(container: av.container.InputContainer) -> dict[int, int]:
    """Returns the numbers of channels of the streams with a custom channel order, by index.

    PyAV exposes FFmpeg's description only by its log. While that is enabled, a decoding thread that logs waits for the
    interpreter lock, and a thread that closes its decoder holds the lock and waits for the former: so a file is
    described once, when it is opened, and threads of other files may finish their lines before it continues.
    """
    path = Path(container.name.removeprefix("file:"))
    state = path.stat()
    key = (state.st_ino, state.st_dev, state.st_size, state.st_mtime_ns, container.name)
    if key not in _orders:
        level, repeated = av.logging.get_level(), av.logging.get_skip_repeated()
        av.logging.set_level(av.logging.INFO)
        av.logging.set_skip_repeated(False)
        try:
            description = container.dumps_format()
        finally:
            av.logging.set_level(level)
            av.logging.set_skip_repeated(repeated)
            time.sleep(_LET_THREADS_LOG_SECONDS)
        while len(_orders) >= _MOST_ORDERS:
            _orders.pop(next(iter(_orders)))
        _orders[key] = {int(index): int(channels) for index, channels in _OWN_ORDER.findall(description)}
    return _orders[key]


def audio_info(container: av.container.InputContainer, stream: av.AudioStream) -> AudioInfo:
    """Describes an audio track."""
    context = stream.codec_context
    channels = own_order(container, stream) or context.layout.nb_channels
    return AudioInfo(context.name, context.sample_rate, channels)


def _decoder(container: av.container.InputContainer, stream: av.stream.Stream) -> av.codec.context.CodecContext:
    """Returns the stream's decoder; one without channel order if the file has a custom one."""
    channels = own_order(container, stream) if stream.type == "audio" else None
    if channels is None:
        return stream.codec_context
    context = av.CodecContext.create(stream.codec_context.name, "r")
    context.sample_rate = stream.codec_context.sample_rate
    context.layout = f"{channels} channels"
    context.extradata = stream.codec_context.extradata
    return context


class FrameReader:
    """Decodes a stream of a file, in order; its frames' times are on the file's continuous clock.

    A damaged packet only loses its own frames.

    Attributes:
        stream: the stream.
        clock: the corrections of the file's time stamps so far.
        damaged: number of packets so far that could not be decoded.

    Args:
        container: the file.
        stream: the video stream or the audio track that belongs to it.
    """

    def __init__(self, container: av.container.InputContainer, stream: av.stream.Stream):
        streams = {each.index: each for each in (_best_video(container), audio_stream(container), stream) if each}
        self.clock = Clock(container, list(streams.values()))
        self.damaged = 0
        self.stream = stream
        self._decode = _decoder(container, stream).decode

    def packets(self) -> Iterator[av.Packet]:
        """Yields the stream's packets, instead of the frames in them."""
        return (packet for packet in self.clock.packets() if packet.stream_index == self.stream.index)

    def __iter__(self) -> Iterator[av.frame.Frame]:
        for packet in self.packets():
            yield from self._frames(packet)
        last = av.Packet()
        last.stream, last.time_base = self.stream, self.stream.time_base
        yield from self._frames(last)

    def _frames(self, packet: av.Packet) -> list[av.frame.Frame]:
        try:
            return self._decode(packet)
        except av.error.FFmpegError:
            self.damaged += 1
            return []
