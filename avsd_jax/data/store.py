"""Random access to the videos of a built split."""

import bisect
import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int8, Int16, UInt8, UInt16

from avsd_jax.common.byte_cache import ByteCache
from avsd_jax.data import schema
from avsd_jax.errors import InputError

T = TypeVar("T")

# Enough for the whole embedded benchmark, or about forty chunks of 720p video.
CACHE_BYTES = 256 << 20


@runtime_checkable
class Records(Protocol):
    """Stored chunks by their numbers; what is read is decided by who asks, so no record is looked at before."""

    def __getitem__(self, record: int) -> Mapping[str, Any]:
        """Reads a record."""


class VideoStore:
    """The videos of one split; reads chunks as needed and decodes only the requested frames.

    Safe to use from several threads. A video is named by its position in `videos`.

    Attributes:
        name: dataset and split, for messages.
        videos: the index entry of each video, in the order of the records. If several datasets are joined, an
            id is `dataset/id`, because two of them may have a `clip1`.
        parts: the positions of each joined dataset's videos, by its name; one entry for a single dataset.
        records: the stored chunks, video after video.
        chunk_frames: frames of a chunk, by video.
        derived: cache of data derived from the videos, with keys chosen by the caller.
    """

    has_frames = True
    """Whether there are frames, not only ground truth."""

    def __init__(
        self,
        name: str,
        records: Records,
        videos: Sequence[schema.VideoIndex],
        chunk_frames: int | Sequence[int],
        cache_bytes: int = CACHE_BYTES,
    ):
        self.name = name
        self.videos = list(videos)
        self.parts = {name: range(len(self.videos))}
        self.records = records
        each = [chunk_frames] * len(self.videos) if isinstance(chunk_frames, int) else list(chunk_frames)
        self.chunk_frames = each
        self._cache = ByteCache(cache_bytes)
        self.derived = ByteCache(cache_bytes)
        counts = [len(video.audio_first) for video in self.videos]
        self._first_record = np.concatenate([[0], np.cumsum(counts)]).astype(int).tolist()

    @classmethod
    def join(cls, name: str, stores: Mapping[str, "VideoStore"], cache_bytes: int = CACHE_BYTES) -> "VideoStore":
        """Joins the videos of several stores, in order; the result shares their records and no cache.

        Args:
            name: for messages.
            stores: by the prefix of their videos' ids.
            cache_bytes: as for `open`.
        """
        videos = [
            dataclasses.replace(video, id=f"{title}/{video.id}")
            for title, store in stores.items()
            for video in store.videos
        ]
        chunk_frames = [count for store in stores.values() for count in store.chunk_frames]
        records = _Joined([(store.records, store._first_record[-1]) for store in stores.values()])
        joined = cls(name, records, videos, chunk_frames, cache_bytes)
        bounds = itertools.pairwise(itertools.accumulate((len(s.videos) for s in stores.values()), initial=0))
        joined.parts = {title: range(*bound) for title, bound in zip(stores, bounds, strict=True)}
        return joined

    def subset(self, positions: Sequence[int]) -> "VideoStore":
        """Returns a store of some of the videos, by position, in their order here; it shares records and no cache."""
        chosen = sorted(set(positions))
        numbers = [self._first_record[v] + n for v in chosen for n in range(len(self.videos[v].audio_first))]
        videos, frames = [self.videos[v] for v in chosen], [self.chunk_frames[v] for v in chosen]
        result = VideoStore(self.name, _Chosen(self.records, numbers), videos, frames)
        place = functools.partial(bisect.bisect_left, chosen)
        result.parts = {name: range(place(part.start), place(part.stop)) for name, part in self.parts.items()}
        return result

    def require_gaze(self, hint: str) -> None:
        """Checks that every video has density maps and fixations.

        Args:
            hint: the fix, as the end of the message.

        Raises:
            InputError: one of the videos has no eye-tracking data.
        """
        without = [video.id for video in self.videos if not video.watched]
        if without:
            raise InputError(
                f"{self.name} lacks eye-tracking data (for {len(without)} of {len(self.videos)} videos, such as "
                f"{without[0]!r}): {hint}"
            )

    def frames(self, video: int, indices: Sequence[int] | np.ndarray) -> list[UInt8[np.ndarray, "h w 3"]]:
        """Decodes frames of a video, in the requested order; each is decoded once.

        Raises:
            IndexError: the video has no such frame.
            InputError: a stored image or its file is damaged.
        """
        decoded = {int(i): self._image(video, int(i), "frames", schema.decode_jpeg) for i in np.unique(indices)}
        return [decoded[int(i)] for i in indices]

    def density(self, video: int, index: int) -> UInt8[np.ndarray, "h w"]:
        """Returns the 8-bit density map of a frame, at its own size.

        Raises:
            IndexError: the video has no such frame.
            InputError: the stored map or its file is damaged, or the video has no eye-tracking data.
        """
        return self._stored_density(video, index, schema.decode_png)

    def density_levels(self, video: int, index: int) -> UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"]:
        """Returns `density` at the depth of its source, 8 or 16 bits."""
        return self._stored_density(video, index, schema.decode_levels)

    def fixations(self, video: int, index: int) -> Float32[np.ndarray, "n 2"]:
        """Returns the fixations (x, y) of a frame, in pixels of the density map's plane.

        Raises:
            IndexError: the video has no such frame.
            InputError: the file is damaged.
        """
        return self.viewer_rows(video, index)[:, 1:]

    def viewer_rows(self, video: int, index: int) -> Float32[np.ndarray, "n 3"]:
        """Returns the fixations with their viewers: (viewer, x, y); the viewer is -1 if unknown.

        Raises:
            IndexError: the video has no such frame.
            InputError: the file is damaged.
        """
        rows = self._chunk_of_frame(video, index).fixations
        low, high = np.searchsorted(rows[:, 0], [index, index + 1])
        return rows[low:high, 1:]

    def avc_label(self, video: int) -> Int8[np.ndarray, " n"]:
        """Returns the label per frame of a video: 1 consistent, 0 inconsistent, -1 unlabelled. Reads no record."""
        return self.videos[video].avc_label

    def audio(self, video: int, start: int, stop: int) -> Int16[np.ndarray, " s"]:
        """Returns the samples `start` to `stop` (exclusive) of a video's waveform, zero outside of it.

        Raises:
            InputError: the file is damaged.
        """
        out = np.zeros(max(0, stop - start), np.int16)
        index = self.videos[video]
        low, high = max(start, 0), min(stop, index.num_samples)
        if low >= high:
            return out
        # Of chunks that begin with the same sample, the last one holds it: the others have no audio.
        first, last = np.searchsorted(index.audio_first, [low, high - 1], side="right") - 1
        for number in range(first, last + 1):
            chunk = self.chunk(video, number)
            a, b = max(low, chunk.audio_first), min(high, chunk.audio_first + len(chunk.audio))
            out[a - start : b - start] = chunk.audio[a - chunk.audio_first : b - chunk.audio_first]
        return out

    def _stored_density(self, video: int, index: int, decode: Callable[[bytes], T]) -> T:
        if not self.videos[video].watched:
            raise InputError(f"{self.name}: video {self.videos[video].id!r} has no eye-tracking data: use other maps")
        return self._image(video, index, "density", decode)

    def _image(self, video: int, index: int, kind: str, decode: Callable[[bytes], T]) -> T:
        chunk = self._chunk_of_frame(video, index)
        try:
            return decode(getattr(chunk, kind)[index - chunk.first_frame])
        except InputError as error:
            raise InputError(f"{self.name}, video {self.videos[video].id!r}, frame {index}: {error}") from error

    def _chunk_of_frame(self, video: int, index: int) -> schema.Chunk:
        if not 0 <= index < self.videos[video].num_frames:
            raise IndexError(f"{self.name}: video {self.videos[video].id!r} has no frame {index}")
        return self.chunk(video, index // self.chunk_frames[video])

    def chunk(self, video: int, number: int) -> schema.Chunk:
        """Reads a chunk of a video, with images and audio as they are stored.

        Raises:
            InputError: the file is damaged.
        """
        record = self._first_record[video] + number
        try:
            return self._cache.get(record, lambda: schema.parse(self.records[record]))
        except RuntimeError as error:  # array_record's, for any damage of files
            why = str(error).partition(";")[0]
            raise InputError(
                f"{self.name}: the file of video {self.videos[video].id!r} is damaged ({why}): "
                "build the dataset again, with --overwrite"
            ) from error


class _Joined:
    """Records of several sources, given with their lengths, one source after the other."""

    def __init__(self, sources: Sequence[tuple[Records, int]]):
        self._sources = [records for records, _ in sources]
        self._starts = list(itertools.accumulate((length for _, length in sources), initial=0))

    def __getitem__(self, record: int) -> Mapping[str, Any]:
        number = bisect.bisect_right(self._starts, record) - 1
        return self._sources[number][record - self._starts[number]]


class _Chosen:
    """Some of the records of a source, by their numbers there."""

    def __init__(self, records: Records, numbers: Sequence[int]):
        self._records = records
        self._numbers = numbers

    def __getitem__(self, record: int) -> Mapping[str, Any]:
        return self._records[self._numbers[record]]
