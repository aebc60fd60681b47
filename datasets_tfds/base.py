"""What all builders share: schema, order of records, index, progress. A dataset's file states only its own matters."""

import abc
import collections
import concurrent.futures
import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
from tqdm import tqdm

from avsd_jax.data import schema

ReadVideo = Callable[[], schema.SourceVideo]

# Sort keys of TFDS's temporary files are 128 bits long.
_KEY_BITS = 128


class VideoDatasetBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base of the builders; a subclass gives `VERSION`, `BUILDER_CONFIGS`, texts, and `splits`.

    The metadata holds, so that nobody has to read a record to know a dataset:
        splits: {split: [VideoIndex as plain data, in the order of the records]}
        chunk_frames: frames of a record
        settings: what the builder's config sets, compared when the dataset is opened

    Attributes:
        CITATION: how to cite the dataset.
        HOMEPAGE: where it comes from.
        LICENSE: its terms.
        num_workers: processes that read videos; 1 reads them in this process.
    """

    CITATION = ""
    HOMEPAGE = ""
    LICENSE = ""

    def __init__(self, **kwargs: Any):
        """As TFDS's; the file format is the only one that allows random access without TensorFlow."""
        super().__init__(**{"file_format": "array_record", **kwargs})
        self.num_workers = 1
        self._pool: concurrent.futures.Executor | None = None

    def download_and_prepare(self, **kwargs: Any) -> None:
        """As TFDS's, with `num_workers` processes."""
        if self.num_workers == 1:
            super().download_and_prepare(**kwargs)
            return
        # Spawned, because a forked child of a process with threads (grain's, jax's) can hang.
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(self.num_workers, context, initializer=_end_with_parent) as pool:
            self._pool = pool
            super().download_and_prepare(**kwargs)

    @abc.abstractmethod
    def splits(self) -> Mapping[str, Sequence[ReadVideo]]:
        """For each split a function per video, in the order of the records.

        Each is called once, in a worker process if there are any: it has to be picklable.
        """

    @property
    def chunk_frames(self) -> int:
        """Frames of a record."""
        return schema.CHUNK_FRAMES

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the content beside the code's version, as plain data."""
        return {}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=schema.features(),
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
            license=self.LICENSE,
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # nothing is downloaded
        splits = self.splits()
        index = {name: [] for name in splits}
        self.info.metadata.update(
            splits=index, chunk_frames=self.chunk_frames, settings=json.loads(json.dumps(self.settings))
        )
        return {name: self._generate_examples(name, videos, index[name]) for name, videos in splits.items()}

    def _generate_examples(
        self, split: str, videos: Sequence[ReadVideo], index: list[dict[str, Any]]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        encoded = _encode_all(videos, self.chunk_frames, self._pool, lookahead=2 * self.num_workers)
        progress = tqdm(encoded, desc=f"{self.name} {split}", total=len(videos), unit="video")
        for number, (entry, records) in enumerate(progress):
            index.append(entry.to_json())
            # Ascending keys keep the order; spread over all keys, they also spread over TFDS's temporary files, one
            # of which it sorts in memory at a time.
            first_key = (number << _KEY_BITS) // len(videos)
            for chunk, record in enumerate(records):
                yield first_key + chunk, record


def _encode(read: ReadVideo, chunk_frames: int) -> tuple[schema.VideoIndex, list[dict[str, Any]]]:
    video = read()
    return schema.index_of(video, chunk_frames), list(schema.encode(video, chunk_frames))


def _encode_all(
    videos: Sequence[ReadVideo], chunk_frames: int, pool: concurrent.futures.Executor | None, lookahead: int
) -> Iterator[tuple[schema.VideoIndex, list[dict[str, Any]]]]:
    """Index entry and records of each video, in order; at most `lookahead` videos wait in memory."""
    if pool is None:
        yield from (_encode(read, chunk_frames) for read in videos)
        return
    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    for read in videos:
        waiting.append(pool.submit(_encode, read, chunk_frames))
        if len(waiting) == lookahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _end_with_parent() -> None:
    """Ends this worker when its parent is killed: the pool itself would leave it waiting for ever."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
