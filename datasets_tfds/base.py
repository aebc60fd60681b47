"""What all builders share: schema, one file per video, splits that share files, worker processes or Beam, progress.

A video is written once, to a file of its own, by whatever process reads it, record by record: no process holds a long
video in memory or sends it to another. A split is a list of videos; its files, `<name>-<split>.array_record-00000-of-
00064` and so on, which TFDS opens, are hard links to theirs. So `train_1` and `test_3` of a set are splits like any
other to TFDS, and ten splits of the same videos take the room of one. (On a file system without hard links, and when
a folder is copied by a tool that does not know them, they are copies.)
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import logging
from array_record.python import array_record_module
from etils import epath
from tqdm import tqdm

from avsd_jax import whole_files
from avsd_jax.data import schema
from avsd_jax.data.source import MissingFile
from avsd_jax.dataset_check import Report
from avsd_jax.errors import InputError
from avsd_jax.worker_processes import end_with_parent

ReadVideo = Callable[[], schema.SourceVideo]

_ERROR = "error"


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a dataset consists of.

    Attributes:
        videos: a function per video, by a name of its own. Each is called once, in a worker process if there are any:
            it has to be picklable.
        splits: for each split the names of its videos, in the order of its records.
        silent: for splits that take the sound away from some of their videos, the names of these.
        notes: plain data about where the videos come from, for the metadata.
    """

    videos: Mapping[str, ReadVideo]
    splits: Mapping[str, Sequence[str]]
    silent: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Written:
    """A video's index entry and the sizes of its records in bytes; or, where it was left out, why."""

    index: dict[str, Any] | None = None
    sizes: tuple[int, ...] = ()
    left_out: str = ""


class VideoDatasetBuilder(tfds.core.dataset_builder.FileReaderBuilder, skip_registration=True):
    """Base of the builders; a subclass gives `VERSION`, `BUILDER_CONFIGS`, texts, and `contents`.

    The metadata holds, so that nobody has to read a record to know a dataset:
        splits: {split: [VideoIndex as plain data, in the order of the records]}
        chunk_frames: frames of a record
        settings: what the builder's config sets, compared when the dataset is opened
        left_out: {video: why it was left out}
        notes: the contents' notes

    Attributes:
        CITATION: how to cite the dataset.
        HOMEPAGE: where it comes from.
        LICENSE: its terms.
        num_workers: processes that read videos; 1 reads them in this process. Beam goes before it.
        skip_missing: leave out a video that lacks a file, instead of stopping.
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
        self.skip_missing = False

    @abc.abstractmethod
    def contents(self, manual_dir: Path | None) -> Contents:
        """What the dataset consists of.

        Args:
            manual_dir: where the user has put source files; None if that was not said.

        Raises:
            InputError: the source files are not there or contradict each other.
        """

    def check(self, manual_dir: str | Path, num_workers: int = 1) -> Report:
        """A look at the user's source files before a build; changes nothing.

        Args:
            manual_dir: where they are.
            num_workers: processes that look at videos.

        Raises:
            InputError: nothing of the set is there, or it is made of no files.
        """
        raise InputError(f"{self.name} is made of no files of yours: there is nothing to check")

    @property
    def chunk_frames(self) -> int:
        """Frames of a record."""
        return schema.CHUNK_FRAMES

    @property
    def about(self) -> str:
        """Description of the dataset."""
        return type(self).__doc__

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the content beside the code's version, as plain data."""
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

        TFDS's own writers first sort records in temporary files, which needs TensorFlow as soon as a split has a
        gigabyte, and know no splits that share videos.
        """
        del dl_manager  # nothing is downloaded
        manual_dir = download_config.manual_dir
        contents = self.contents(Path(manual_dir) if manual_dir else None)
        folder = Path(self.data_path)
        files = {name: folder / f"video.{number}" for number, name in enumerate(contents.videos)}
        write = _write_or_skip if self.skip_missing else write_video
        jobs = [
            functools.partial(write, contents.videos[name], path, self.chunk_frames) for name, path in files.items()
        ]
        results = tqdm(self._run(jobs, folder, download_config), desc=self.name, total=len(jobs), unit="video")
        written = dict(zip(files, results, strict=True))
        left_out = {name: result.left_out for name, result in written.items() if result.left_out}
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
        for name, path in files.items():
            if name not in left_out:
                path.unlink()
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

    def _run(
        self, jobs: Sequence[Callable[[], Written]], folder: Path, config: tfds.download.DownloadConfig
    ) -> Iterator[Written]:
        """Results of the jobs, in order."""
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
            logging.warning("%s: %s is left out: %s", self.name, name, why)
        empty = [split for split, names in splits.items() if not names]
        if empty:
            why = f" ({next(iter(left_out.values()))})" if left_out else ""
            raise InputError(f"no video of {self.name} is left in {', '.join(empty)}{why}: complete the files")

    def _link(self, split: str, files: Sequence[Path], written: Sequence[Written]) -> tfds.core.SplitInfo:
        """The split's files, one per video."""
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
    """The video's entry in a split's index."""
    return {**video.index, **({"num_samples": 0, "audio_rms": 0.0} if silent else {})}


def write_video(read: ReadVideo, path: Path, chunk_frames: int) -> Written:
    """Writes a video's records to a file of its own, as they come."""
    video = read()
    index = schema.index_of(video, chunk_frames)
    features = schema.features()
    sizes = []
    # Groups of one record, so that reading a record decompresses no other.
    with contextlib.closing(array_record_module.ArrayRecordWriter(os.fspath(path), "group_size:1")) as writer:
        for record in schema.encode(video, chunk_frames):
            data = features.serialize_example(record)
            writer.write(data)
            sizes.append(len(data))
    return Written(index.to_json(), tuple(sizes))


def _write_or_skip(read: ReadVideo, path: Path, chunk_frames: int) -> Written:
    """As `write_video`; a video that lacks a file is left out."""
    try:
        return write_video(read, path, chunk_frames)
    except MissingFile as error:
        return Written(left_out=str(error))


def _call(job: Callable[[], Written]) -> Written:
    return job()


def _run_on_beam(
    jobs: Sequence[Callable[[], Written]], folder: Path, config: tfds.download.DownloadConfig
) -> Iterator[Written]:
    """As `_run`, on the engine that TFDS was told to use; its workers must see this machine's folders.

    A pipeline hands nothing back but files: a worker leaves the result beside the records.
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
            | beam.Reshuffle()  # else a runner may keep what was created together on one worker
            | beam.MapTuple(_call_and_note)
        )
    for note in notes:
        result = json.loads(note.read_text())
        note.unlink()
        if _ERROR in result:
            raise InputError(result[_ERROR])
        yield Written(**result)


def _call_and_note(job: Callable[[], Written], note: Path) -> None:
    # An engine would try again what fails, and wrap the error in its own.
    try:
        result = dataclasses.asdict(job())
    except InputError as error:
        result = {_ERROR: str(error)}
    whole_files.write_json(note, result)
