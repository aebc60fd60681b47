"""What all builders share: schema, order of records, index, worker processes, progress."""

import abc
import collections
import concurrent.futures
import contextlib
import functools
import itertools
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
from array_record.python import array_record_module
from etils import epath
from tqdm import tqdm

from avsd_jax.data import schema
from avsd_jax.worker_processes import end_with_parent

ReadVideo = Callable[[], schema.SourceVideo]

_SHARD_BYTES = 256 << 20


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

    def __init__(
        self,
        *,
        data_dir: epath.PathLike | None = None,
        config: str | tfds.core.BuilderConfig | None = None,
        version: str | None = None,
        file_format: str | None = "array_record",
    ):
        """As TFDS's; only this file format allows random access without TensorFlow."""
        super().__init__(data_dir=data_dir, config=config, version=version, file_format=file_format)
        self.num_workers = 1
        self._pool: concurrent.futures.Executor | None = None

    def download_and_prepare(
        self,
        *,
        download_dir: epath.PathLike | None = None,
        download_config: tfds.download.DownloadConfig | None = None,
        file_format: str | None = None,
    ) -> None:
        """As TFDS's, with `num_workers` processes."""
        prepare = functools.partial(
            super().download_and_prepare,
            download_dir=download_dir,
            download_config=download_config,
            file_format=file_format,
        )
        if self.num_workers == 1:
            prepare()
            return
        # Spawned, because a forked child of a process with threads (grain's, jax's) can hang.
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(self.num_workers, context, initializer=end_with_parent) as pool:
            self._pool = pool
            prepare()

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
            yield from enumerate(records, start=number << 32)

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> None:
        """Writes the records of all splits, in order, as they come.

        TFDS's own writer first sorts them in temporary files, which needs TensorFlow as soon as a split has a
        gigabyte.
        """
        del download_config
        splits = self._split_generators(dl_manager)
        self.info.set_splits(tfds.core.SplitDict([self._write(*split) for split in splits.items()]))

    def _write(self, split: str, records: Iterable[tuple[int, dict[str, Any]]]) -> tfds.core.SplitInfo:
        template = tfds.core.ShardedFileTemplate(
            data_dir=self.data_path, dataset_name=self.name, split=split, filetype_suffix="array_record"
        )
        sizes: list[list[int]] = []
        # The files' names contain their number, which is known at the end.
        parts = (self.data_path / f"{split}.part{i}" for i in itertools.count())
        with contextlib.ExitStack() as stack:
            for _, record in records:
                if not sizes or sum(sizes[-1]) >= _SHARD_BYTES:
                    stack.close()
                    # Groups of one record, so that reading a record decompresses no other.
                    writer = array_record_module.ArrayRecordWriter(os.fspath(next(parts)), "group_size:1")
                    stack.callback(writer.close)
                    sizes.append([])
                data = self.info.features.serialize_example(record)
                writer.write(data)
                sizes[-1].append(len(data))
        for i in range(len(sizes)):
            name = template.sharded_filepath(shard_index=i, num_shards=len(sizes))
            (self.data_path / f"{split}.part{i}").rename(name)
        return tfds.core.SplitInfo(
            name=split,
            shard_lengths=[len(records) for records in sizes],
            num_bytes=sum(map(sum, sizes)),
            filename_template=template,
        )


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
