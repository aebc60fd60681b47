"""Any frame of a video file by its number, exactly the one that `avsd_jax.media.reading.read_frames` numbers so.

Seeking is inexact in some containers. So the file is decoded once from beginning to end, and the time stamp of every
frame is kept: a frame that was sought is the right one if it has its stamp. Where stamps do not identify frames, the
file is decoded from its beginning.
"""

import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from avsd_jax.errors import InputError
from avsd_jax.media.container import FrameReader, open_media, video_stream
from avsd_jax.media.orientation import orientation
from avsd_jax.media.reading import displayed_size, timed_frames

# Of decoded frames that are kept, so that stepping backwards does not decode a group of pictures for each step.
_HELD_BYTES = 96 * 2**20
# Frames that are decoded rather than sought.
_AHEAD = 300
# A stamp that no file has: the frame has none.
_NONE = np.iinfo(np.int64).min


class FrameIndex(NamedTuple):
    """The frames of a file, from one pass through it.

    Attributes:
        times: seconds after the first frame, as `read_frames` gives them.
        stamps: time stamps in the file's own units.
        keys: whether a frame can be decoded without others.
        exact: whether a stamp identifies a frame, so that it can be sought.
    """

    times: Float64[np.ndarray, " n"]
    stamps: Int64[np.ndarray, " n"]
    keys: Bool[np.ndarray, " n"]
    exact: bool


def index_frames(path: str | Path, progress: Callable[[int], None] = lambda done: None) -> FrameIndex:
    """Decodes a whole file; memory is a few bytes a frame.

    Args:
        path: the file.
        progress: is called with the number of frames so far; an exception that it raises ends the pass.

    Raises:
        InputError: the file is missing or damaged, or has no video stream that can be decoded.
    """
    times, stamps, keys = array("d"), array("q"), array("b")
    with open_media(path) as container:
        reader = FrameReader(container, video_stream(container, path))
        for time, frame in timed_frames(reader, path):
            times.append(time)
            stamps.append(_NONE if frame.pts is None else frame.pts)
            keys.append(frame.key_frame)
            progress(len(times))
        clean = not (reader.damaged or reader.clock.jumps)
    marks = np.frombuffer(stamps, np.int64)
    exact = clean and _NONE not in marks and bool((np.diff(marks) > 0).all())
    return FrameIndex(np.frombuffer(times, np.float64), marks, np.frombuffer(keys, np.int8) > 0, exact)


class ExactFrames:
    """Decoded frames of a file by number; safe to use from several threads, which wait for each other.

    Args:
        path: the file.
        index: its frames.
    """

    def __init__(self, path: str | Path, index: FrameIndex):
        self._path = path
        self._index = index
        self._guard = threading.Lock()
        self._held: OrderedDict[int, av.VideoFrame] = OrderedDict()
        self._held_bytes = 0
        self._frames: Iterator[tuple[int, av.VideoFrame]] | None = None
        self._next = 0
        self._size: tuple[int, int] | None = None

    def picture(self, number: int, longest: int | None = None) -> UInt8[np.ndarray, "h w 3"]:
        """Returns a frame as RGB, in the orientation and size that `read_frames` gives it.

        Args:
            number: from 0.
            longest: pixels of the longer side, which a larger picture is reduced to; None for its own size.

        Raises:
            IndexError: there is no such frame.
            InputError: the file is missing, damaged or another one by now.
        """
        if not 0 <= number < len(self._index.times):
            raise IndexError(f"frame {number} of {len(self._index.times)}")
        with self._guard:
            if self._size is None:
                self._size = displayed_size(self._frame(0))
            frame = self._frame(number)
        turned = orientation(frame)
        width, height = self._size
        if longest is not None and max(width, height) > longest:
            factor = longest / max(width, height)
            width, height = max(1, round(width * factor)), max(1, round(height * factor))
        if turned.transpose:
            width, height = height, width
        return turned.apply(frame.to_ndarray(format="rgb24", width=width, height=height))

    def close(self) -> None:
        """Closes the file, and forgets what was decoded."""
        with self._guard:
            self._stop()
            self._held.clear()
            self._held_bytes = 0

    def _frame(self, number: int) -> av.VideoFrame:
        if number not in self._held and not (self._read_on(number) or self._read_from_key(number)):
            self._restart(self._counted(), 0)
            if not self._read_until(number):
                raise InputError(f"{self._path} is not the file any more that it was: load it again")
        self._held.move_to_end(number)
        return self._held[number]

    def _read_on(self, number: int) -> bool:
        """Reads a frame that comes soon after the last one."""
        if self._frames is None or not self._next <= number < self._next + _AHEAD:
            return False
        return not self._index.keys[self._next + 1 : number + 1].any() and self._read_until(number)

    def _read_from_key(self, number: int) -> bool:
        """Reads a frame from the key frame before it; returns false if that cannot be trusted."""
        keys = np.flatnonzero(self._index.keys[: number + 1])
        if not self._index.exact or not len(keys) or not keys[-1]:
            return False
        self._restart(self._sought(int(keys[-1])), int(keys[-1]))
        return self._read_until(number)

    def _read_until(self, number: int) -> bool:
        for found, frame in self._frames:
            self._hold(found, frame)
            self._next = found + 1
            if found >= number:
                return found == number
        return False

    def _counted(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yields all frames."""
        with open_media(self._path) as container:
            yield from enumerate(FrameReader(container, video_stream(container, self._path)))

    def _sought(self, key: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yields the frames from a key frame on, or nothing if the file does not lead there."""
        stamps = self._index.stamps
        with open_media(self._path) as container:
            stream = video_stream(container, self._path)
            try:
                container.seek(int(stamps[key]), stream=stream, backward=True)
                frames = container.decode(stream)
                for frame in frames:
                    found = -1 if frame.pts is None else int(np.searchsorted(stamps, frame.pts))
                    # Pictures before the first key frame lack those that they were predicted from.
                    if not 0 <= found < len(stamps) or stamps[found] != frame.pts or frame.is_corrupt:
                        return
                    if found >= key:
                        yield found, frame
            except av.error.FFmpegError:
                return

    def _restart(self, frames: Iterator[tuple[int, av.VideoFrame]], first: int) -> None:
        self._stop()
        self._frames, self._next = frames, first

    def _stop(self) -> None:
        if self._frames is not None:
            self._frames.close()
        self._frames = None

    def _hold(self, number: int, frame: av.VideoFrame) -> None:
        if number in self._held:
            return
        self._held[number] = frame
        self._held_bytes += _bytes_of(frame)
        while self._held_bytes > _HELD_BYTES and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._held_bytes -= _bytes_of(oldest)


def _bytes_of(frame: av.VideoFrame) -> int:
    return sum(plane.buffer_size for plane in frame.planes)
