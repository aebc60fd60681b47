"""The base of all builders: schema, one file per video, splits that share files, worker processes or Beam, progress.

Each video is written once, to its own file, by the process that reads it, record by record: no process holds a long
video in memory or sends it to another. A split is a list of videos; its files, `<name>-<split>.array_record-00000-of-
00064` and so on, which TFDS opens, are hard links to theirs. So `train_1` and `test_3` of a set are ordinary splits
to TFDS, and ten splits of the same videos take the space of one. (On a file system without hard links, and when
a folder is copied by a tool that does not preserve them, they are copies.)
"""

import abc
import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import logging
from array_record.python import array_record_module
from etils import epath
from tensorflow_datasets.proto import tf_example_pb2
from tqdm import tqdm

from avsd_jax.common import atomic_files
from avsd_jax.common.worker_processes import end_with_parent
from avsd_jax.data import schema
from avsd_jax.errors import InputError, storage_error
from avsd_jax.sources.base import MissingFile
from avsd_jax.sources.check import Report, empty_splits, refuse

ReadVideo = Callable[[], schema.SourceVideo]


@dataclasses.dataclass(frozen=True)
class Contents:
    """The content of a dataset.

    Attributes:
        videos: a function per video, by name. Each is called once, possibly in a worker process, so it must be
            picklable.
        splits: the names of the videos of each split, in the order of its records.
        silent: for splits that remove the audio of some videos, the names of these.
        notes: plain data about the origin of the videos, for the metadata.
    """

    videos: Mapping[str, ReadVideo]
    splits: Mapping[str, Sequence[str]]
    silent: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Written:
    """A video's index entry and the sizes of its records in bytes; or the reason why it could not be written.

    Attributes:
        index: the entry.
        sizes: of its records.
        problem: of the video's files.
        missing: whether the problem is a missing file.
    """

    index: dict[str, Any] | None = None
    sizes: tuple[int, ...] = ()
    problem: str = ""
    missing: bool = False


class VideoDatasetBuilder(tfds.core.dataset_builder.FileReaderBuilder, skip_registration=True):
    """Base of the builders; a subclass defines `VERSION`, `BUILDER_CONFIGS`, texts, and `contents`.

    The metadata describes a dataset, so that no record has to be read:
        splits: {split: [VideoIndex as plain data, in the order of the records]}
        chunk_frames: frames of a record
        settings: of the builder's config, compared when the dataset is opened
        left_out: {video: why it was skipped}
        notes: the contents' notes

    Attributes:
        CITATION: how to cite the dataset.
        HOMEPAGE: its origin.
        LICENSE: its terms.
        num_workers: processes that read videos; 1 reads them in this process. Beam takes precedence.
        skip_missing: skip a video that lacks a file, instead of stopping.
        report: result of `check` for the files to be built; None if not checked yet.
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
        """Takes TFDS's arguments; only this file format allows random access without TensorFlow."""
        super().__init__(data_dir=data_dir, config=config, version=version, file_format=file_format)
        self.num_workers = 1
        self.skip_missing = False
        self.report: Report | None = None

    @abc.abstractmethod
    def contents(self, manual_dir: Path | None) -> Contents:
        """Returns the content of the dataset.

        Args:
            manual_dir: folder of the user's source files; None if not given.

        Raises:
            InputError: the source files are missing or contradict each other.
        """

    def given(self, manual_dir: Path | None) -> Path:
        """Returns the folder of the user's source files.

        Raises:
            InputError: it is not given.
        """
        if manual_dir is None:
            raise InputError(f"{self.name} is built from your files: give the root of their tree as --manual_dir")
        return manual_dir

    def check(self, manual_dir: str | Path, num_workers: int = 1, thorough: bool = False) -> Report:
        """Checks the user's source files before a build; changes nothing. A build begins with the same check.

        Args:
            manual_dir: their folder.
            num_workers: number of processes.
            thorough: also read all videos as a build does, which decodes all images.

        Raises:
            InputError: nothing of the dataset is there, or it needs no files.
        """
        raise InputError(f"{self.name} needs no files of yours: there is nothing to check")

    @property
    def chunk_frames(self) -> int:
        """Returns the number of frames of a record."""
        return schema.CHUNK_FRAMES

    @property
    def about(self) -> str:
        """Returns the description of the dataset."""
        return type(self).__doc__

    @property
    def settings(self) -> dict[str, Any]:
        """Returns what determines the content beside the code's version, as plain data."""
        return {}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.about,
            features=schema.features(),
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
            license=self.LICENSE,
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> None:
        """Writes each video, then links the splits.

        TFDS's own writers first sort records in temporary files, which needs TensorFlow for splits of a
        gigabyte or more, and do not support splits that share videos.
        """
        del dl_manager  # nothing is downloaded
        manual_dir = download_config.manual_dir and Path(download_config.manual_dir)
        left_out = self._examine(manual_dir)
        contents = self.contents(manual_dir)
        folder = Path(self.data_path)
        names = [name for name in contents.videos if name not in left_out]
        files = {name: folder / f"video.{number}" for number, name in enumerate(names)}
        jobs = [functools.partial(_attempt, contents.videos[name], files[name], self.chunk_frames) for name in names]
        results = tqdm(self._run(jobs, folder, download_config), desc=self.name, total=len(jobs), unit="video")
        written = dict(zip(files, results, strict=True))
        skipped = {name: result for name, result in written.items() if self.skip_missing and result.missing}
        left_out |= {name: result.problem for name, result in skipped.items()}
        # All of them, so that one message is enough.
        problems = (result.problem for name, result in written.items() if name not in left_out and result.problem)
        refuse(self.name, list(dict.fromkeys(problems)))
        splits = {split: [name for name in names if name not in left_out] for split, names in contents.splits.items()}
        self._check_splits(splits, left_out)
        self.info.set_splits(
            tfds.core.SplitDict(
                [
                    self._link(split, [files[name] for name in names], [written[name] for name in names])
                    for split, names in splits.items()
                ]
            )
        )
        for path in files.values():
            path.unlink(missing_ok=True)  # a skipped one has none
        metadata = {
            "splits": {
                split: [_entry(written[name], name in contents.silent.get(split, ())) for name in names]
                for split, names in splits.items()
            },
            "chunk_frames": self.chunk_frames,
            "settings": self.settings,
            "left_out": left_out,
            "notes": dict(contents.notes),
        }
        self.info.metadata.update(json.loads(json.dumps(metadata)))

    def _examine(self, manual_dir: Path | None) -> dict[str, str]:
        """Checks the user's files before any is read; returns the videos to skip, and why.

        Raises:
            InputError: there are problems with the files; the message lists all.
        """
        if manual_dir is None or type(self).check is VideoDatasetBuilder.check:
            return {}  # no files needed, or `contents` reports that they are missing
        report = self.report or self.check(manual_dir, self.num_workers)
        report.refuse(self.skip_missing)
        return report.left_out() if self.skip_missing else {}

    def _run(
        self, jobs: Sequence[Callable[[], Written]], folder: Path, config: tfds.download.DownloadConfig
    ) -> Iterator[Written]:
        """Yields the results of the jobs, in order."""
        if config.beam_runner is not None or config.beam_options is not None:
            yield from _run_on_beam(jobs, folder, config)
        elif self.num_workers == 1:
            yield from (job() for job in jobs)
        else:
            # Spawned, because a forked child of a process with threads (grain's, jax's) can hang.
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(self.num_workers, context, initializer=end_with_parent) as pool:
                yield from pool.map(_call, jobs)

    def _check_splits(self, splits: Mapping[str, Sequence[str]], left_out: Mapping[str, str]) -> None:
        for name, why in left_out.items():
            logging.warning("%s: %s is skipped: %s", self.name, name, why)
        if problem := empty_splits(self.name, splits, left_out):
            raise InputError(problem)

    def _link(self, split: str, files: Sequence[Path], written: Sequence[Written]) -> tfds.core.SplitInfo:
        """Links the files of a split, one per video."""
        template = tfds.core.ShardedFileTemplate(
            data_dir=self.data_path, dataset_name=self.name, split=split, filetype_suffix="array_record"
        )
        for number, file in enumerate(files):
            name = Path(template.sharded_filepath(shard_index=number, num_shards=len(files)))
            try:
                os.link(file, name)
            except OSError:
                shutil.copyfile(file, name)
        return tfds.core.SplitInfo(
            name=split,
            shard_lengths=[len(video.sizes) for video in written],
            num_bytes=sum(sum(video.sizes) for video in written),
            filename_template=template,
        )


def _entry(video: Written, silent: bool) -> dict[str, Any]:
    """Returns the video's entry in a split's index."""
    return {**video.index, **({"num_samples": 0, "audio_rms": 0.0} if silent else {})}


def write_video(read: ReadVideo, path: Path, chunk_frames: int) -> Written:
    """Writes a video's records to its own file, as they come.

    Raises:
        InputError: the video's source files are wrong.
        StorageError: the disk is full or read-only.
    """
    video = read()
    index = schema.index_of(video, chunk_frames)
    sizes = []
    try:
        # Groups of one record, so that reading a record decompresses no other.
        with contextlib.closing(array_record_module.ArrayRecordWriter(os.fspath(path), "group_size:1")) as writer:
            for data in _serialised(schema.encode(video, chunk_frames)):
                writer.write(data)
                sizes.append(len(data))
    except RuntimeError as error:
        full = storage_error(error, path)
        if full is None:
            raise
        raise full from error
    return Written(index.to_json(), tuple(sizes))


def _serialised(records: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Serialises records as TFDS does, but with a fixed order of features, which TFDS leaves random."""
    features = schema.features()
    for record in records:
        example = tf_example_pb2.Example.FromString(features.serialize_example(record))
        yield example.SerializeToString(deterministic=True)


def _attempt(read: ReadVideo, path: Path, chunk_frames: int) -> Written:
    """Writes a video and returns its problem, if any, in the result, so that the others are tried, too."""
    try:
        return write_video(read, path, chunk_frames)
    except InputError as error:
        path.unlink(missing_ok=True)
        return Written(problem=str(error), missing=isinstance(error, MissingFile))


def _call(job: Callable[[], Written]) -> Written:
    return job()


def _run_on_beam(
    jobs: Sequence[Callable[[], Written]], folder: Path, config: tfds.download.DownloadConfig
) -> Iterator[Written]:
    """Runs the jobs on Beam; its workers need access to this machine's folders.

    A pipeline only returns files, so a worker writes the result beside the records.
    """
    try:
        import apache_beam as beam
    except ImportError as error:
        raise InputError('Beam is not installed: run `pip install "avsd-jax[beam]"`') from error
    notes = [folder / f"video.{number}.json" for number in range(len(jobs))]
    with beam.Pipeline(runner=config.beam_runner, options=config.beam_options) as pipeline:
        _ = (
            pipeline
            | beam.Create(list(zip(jobs, notes, strict=True)))
            | beam.Reshuffle()  # otherwise a runner may keep items that were created together on one worker
            | beam.MapTuple(_call_and_note)
        )
    for note in notes:
        result = json.loads(note.read_text())
        note.unlink()
        yield Written(**result)


def _call_and_note(job: Callable[[], Written], note: Path) -> None:
    atomic_files.write_json(note, dataclasses.asdict(job()))
