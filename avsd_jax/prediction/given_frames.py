"""Frames and audio that a caller gives instead of a file, for `avsd_jax.prediction.clip_stream.ClipStream`."""

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from jaxtyping import Float, UInt8

from avsd_jax.errors import InputError
from avsd_jax.media.audio import AudioWindow, Block
from avsd_jax.media.container import AudioInfo
from avsd_jax.media.reading import Frame, VideoInfo

# The name of the frames in notes.
_NAME = Path("frames")


class GivenAudio:
    """A waveform that is read as the frames need it.

    Args:
        waveform: samples in [-1, 1], whole or as consecutive pieces.
        rate: samples per second.

    Raises:
        InputError: the rate is no positive whole number; when it is read: a piece is no array of floats [s].
    """

    def __init__(self, waveform: Float[np.ndarray, " s"] | Iterable[Any], rate: int):
        if not isinstance(rate, int | np.integer) or rate < 1:
            raise InputError(f"a waveform of {rate!r} samples per second: give a whole number of 1 or more")
        self.info = AudioInfo("pcm_f32le", int(rate), 1)
        whole = isinstance(waveform, np.ndarray)
        self._pieces = iter([waveform] if whole else waveform)
        self._unread: list[deque[Float[np.ndarray, " s"]]] = []

    def window(self, rate: int) -> AudioWindow:
        """Opens it, resampled to a rate; all windows before any of them is read."""
        unread: deque[Float[np.ndarray, " s"]] = deque()
        self._unread.append(unread)
        return AudioWindow.of_blocks(self._blocks(unread), rate)

    def _blocks(self, unread: deque[Float[np.ndarray, " s"]]) -> Iterator[Block]:
        position, rate = 0, self.info.sample_rate
        while unread or self._read():
            samples = unread.popleft()
            # At most a second at a time.
            for first in range(0, len(samples), rate):
                part = np.ascontiguousarray(samples[None, first : first + rate], np.float32)
                block = av.AudioFrame.from_ndarray(
                    np.clip(np.nan_to_num(part, posinf=0, neginf=0), -1, 1), format="fltp", layout="mono"
                )
                block.sample_rate, block.time_base, block.pts = rate, Fraction(1, rate), position
                yield Block(block, position / rate, begins=position == 0)
                position += part.shape[1]

    def _read(self) -> bool:
        """Reads a piece for all windows; returns whether there was one."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        piece = np.asarray(piece)
        if piece.ndim != 1 or not np.issubdtype(piece.dtype, np.floating):
            raise InputError(f"audio of type {piece.dtype} and shape {piece.shape}: give floats in [-1, 1], [samples]")
        for unread in self._unread:
            unread.append(piece)
        return True


def numbered(frames: Iterable[UInt8[np.ndarray, "h w 3"] | Frame], fps: float) -> Iterator[Frame]:
    """Yields frames with numbers and times: their own times, or those of a constant rate.

    Raises:
        InputError: a frame is no RGB image of bytes, or a time does not increase.
    """
    last = -math.inf
    for index, given in enumerate(frames):
        time, image = (given.time, given.image) if isinstance(given, Frame) else (index / fps, given)
        check_image(image, f"frame {index}")
        if not (0 <= time < math.inf and time > last):
            raise InputError(f"frame {index} is at {time:g} s, not after the one before: give increasing times from 0")
        last = time
        yield Frame(index, time, image)


def check_image(image: Any, name: str) -> None:
    """Checks that something is an RGB image of bytes with at least one pixel.

    Args:
        image: what a caller gives.
        name: of it, for the message.

    Raises:
        InputError: it is none.
    """
    array = isinstance(image, np.ndarray)
    if array and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
        return
    found = f"{image.dtype} {image.shape}" if array else type(image).__name__
    raise InputError(f"{name} is {found}: give uint8 RGB arrays [height, width, 3]")


def described(frames: Iterable[Any], fps: float, audio: GivenAudio | None) -> tuple[VideoInfo, Iterator[Frame]] | None:
    """Returns the properties of frames, and all of them; None if there is none.

    Args:
        frames: as `numbered` takes them; a sequence tells their number.
        fps: frames per second.
        audio: that belongs to them.
    """
    number = len(frames) if hasattr(frames, "__len__") else None
    rest = numbered(frames, fps)
    first = next(rest, None)
    if first is None:
        return None
    height, width = first.image.shape[:2]
    info = VideoInfo(
        path=_NAME,
        codec="rawvideo",
        width=width,
        height=height,
        fps=fps,
        duration=None,
        num_frames=number,
        pixel_aspect=Fraction(1),
        start=0.0,
        audio=None if audio is None else audio.info,
    )
    return info, itertools.chain([first], rest)
