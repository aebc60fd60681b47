"""Random access to the videos of a prepared split."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32, Int8, Int16, UInt8

from avsd_jax import datasets
from avsd_jax.data import schema
from avsd_jax.data.lru import ByteCache
from avsd_jax.errors import InputError

T = TypeVar("T")

# Holds all of the embedded benchmark, or some forty chunks of 720p video.
_CACHE_BYTES = 256 << 20


class VideoStore:
    """The videos of one split; reads chunks as needed and decodes only the frames asked for.

    Safe to use from several threads. A video is named by its position in `videos`.

    Attributes:
        name: dataset and split, for messages.
        videos: what the index says of each video, in the order of the records.
        derived: cache for whatever is made from the videos; keys are the maker's business.
    """

    def __init__(
        self,
        name: str,
        records: Sequence[Mapping[str, Any]],
        videos: Sequence[schema.VideoIndex],
        chunk_frames: int,
        cache_bytes: int = _CACHE_BYTES,
    ):
        self.name = name
        self.videos = list(videos)
        self._records = records
        self._chunk_frames = chunk_frames
        self._cache = ByteCache(cache_bytes)
        self.derived = ByteCache(cache_bytes)
        counts = [len(video.audio_first) for video in self.videos]
        self._first_record = np.concatenate([[0], np.cumsum(counts)]).astype(int).tolist()

    @classmethod
    def open(cls, dataset: str, split: str, data_dir: str | Path, cache_bytes: int = _CACHE_BYTES) -> "VideoStore":
        """Opens a split of a prepared dataset; reads its index, and no record.

        Args:
            dataset: `name` or `name/config` of a folder of `datasets_tfds`.
            split: name of a split.
            data_dir: folder in which the dataset was built.
            cache_bytes: memory for parsed chunks, and as much again for what is derived from them.

        Raises:
            InputError: there is no such dataset or split, or it is not prepared in `data_dir`.
        """
        builder = datasets.open_builder(dataset, data_dir)
        splits = builder.info.metadata["splits"]
        if split not in splits:
            raise InputError(f"dataset {dataset!r} has no split {split!r}: choose one of {', '.join(sorted(splits))}")
        return cls(
            f"{dataset} {split}",
            builder.as_data_source(split=split),
            [schema.VideoIndex.from_json(entry) for entry in splits[split]],
            builder.info.metadata["chunk_frames"],
            cache_bytes,
        )

    def frames(self, video: int, indices: Sequence[int] | np.ndarray) -> list[UInt8[np.ndarray, "h w 3"]]:
        """Decodes frames of a video, in the order asked for; one asked for twice is decoded once.

        Raises:
            IndexError: the video has no such frame.
            InputError: a stored picture is damaged.
        """
        decoded = {int(i): self._image(video, int(i), "frames", schema.decode_jpeg) for i in np.unique(indices)}
        return [decoded[int(i)] for i in indices]

    def density(self, video: int, index: int) -> UInt8[np.ndarray, "h w"]:
        """The 8-bit density map of a frame, at its own size.

        Raises:
            IndexError: the video has no such frame.
            InputError: the stored map is damaged.
        """
        return self._image(video, index, "density", schema.decode_png)

    def fixations(self, video: int, index: int) -> Float32[np.ndarray, "n 2"]:
        """Points (x, y) that viewers fixate in a frame, in pixels of the density map's plane.

        Raises:
            IndexError: the video has no such frame.
        """
        rows = self._chunk_of_frame(video, index).fixations
        low, high = np.searchsorted(rows[:, 0], [index, index + 1])
        return rows[low:high, 2:]

    def avc_label(self, video: int) -> Int8[np.ndarray, " n"]:
        """Label per frame of a video: 1 consistent, 0 inconsistent, -1 unlabelled. Reads no record."""
        return self.videos[video].avc_label

    def audio(self, video: int, start: int, stop: int) -> Int16[np.ndarray, " s"]:
        """Samples `start` to `stop` (exclusive) of a video's waveform, zero outside of it."""
        out = np.zeros(max(0, stop - start), np.int16)
        index = self.videos[video]
        low, high = max(start, 0), min(stop, index.num_samples)
        if low >= high:
            return out
        # Of chunks that begin with the same sample, the last one holds it: the others have no sound.
        first, last = np.searchsorted(index.audio_first, [low, high - 1], side="right") - 1
        for number in range(first, last + 1):
            chunk = self._chunk(video, number)
            a, b = max(low, chunk.audio_first), min(high, chunk.audio_first + len(chunk.audio))
            out[a - start : b - start] = chunk.audio[a - chunk.audio_first : b - chunk.audio_first]
        return out

    def _image(self, video: int, index: int, kind: str, decode: Callable[[bytes], T]) -> T:
        chunk = self._chunk_of_frame(video, index)
        try:
            return decode(getattr(chunk, kind)[index - chunk.first_frame])
        except InputError as error:
            raise InputError(f"{self.name}, video {self.videos[video].id!r}, frame {index}: {error}") from error

    def _chunk_of_frame(self, video: int, index: int) -> schema.Chunk:
        if not 0 <= index < self.videos[video].num_frames:
            raise IndexError(f"{self.name}: video {self.videos[video].id!r} has no frame {index}")
        return self._chunk(video, index // self._chunk_frames)

    def _chunk(self, video: int, number: int) -> schema.Chunk:
        record = self._first_record[video] + number
        return self._cache.get(record, lambda: schema.parse(self._records[record]))
