"""Inputs of an evaluation: the videos with their ground truth, and the predictions found for them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avsd_jax.data import catalog, dataset_names
from avsd_jax.data.catalog import open_store
from avsd_jax.data.dataset_digest import dataset_digest
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.evaluation import ground_truth_folder, prediction_folders
from avsd_jax.evaluation.ground_truth_folder import FolderTruth
from avsd_jax.evaluation.prediction_folders import PredictionFolder


@dataclass(frozen=True)
class Source:
    """Location of a split's ground truth; small enough to be sent to worker processes.

    Attributes:
        dataset: name of a built dataset, or of a folder in results.
        split: name of the split.
        data_dir: folder of built datasets.
        folder: a folder of ground truth; None for a built dataset.
        first_frame: the number of the first frame in that folder; None: inferred.
    """

    dataset: str
    split: str
    data_dir: str
    folder: str | None = None
    first_frame: int | None = None

    def anywhere(self) -> "Source":
        """Returns the same with absolute paths."""
        folder = None if self.folder is None else os.path.abspath(self.folder)
        return replace(self, data_dir=os.path.abspath(self.data_dir), folder=folder)

    def open(self) -> VideoStore:
        """Opens the videos.

        Raises:
            InputError: as `VideoStore.open` and `FolderTruth`.
        """
        if self.folder is not None:
            return FolderTruth(self.folder, self.first_frame)
        return open_store(self.dataset, self.split, self.data_dir)


@dataclass(frozen=True)
class Split:
    """A split with the predictions to score on it.

    Attributes:
        name: of the split.
        source: location of its ground truth.
        store: its videos.
        found: their predictions.
        given: the folder in which the predictions were looked for.
    """

    name: str
    source: Source
    store: VideoStore
    found: PredictionFolder
    given: Path


def sources(
    dataset: str | None,
    splits: Sequence[str],
    data_dir: str | Path,
    ground_truth: str | Path | None = None,
    first_frame: int | None = None,
) -> list[Source]:
    """Returns the location of the ground truth of each split.

    Args:
        dataset: a built dataset, in any case; None with a folder.
        splits: its splits; for a folder, "all" or the default.
        data_dir: folder of built datasets.
        ground_truth: a folder of ground truth instead.
        first_frame: the number of the first frame in the folder; None: inferred.

    Raises:
        InputError: neither or both of dataset and folder are given, or several datasets, or a split twice.
    """
    if (dataset is None) == (ground_truth is None):
        raise InputError("give --dataset, a built dataset, or --ground_truth, a folder, and not both")
    if ground_truth is not None:
        if tuple(splits) not in ((ground_truth_folder.SPLIT,), ("test",)):
            raise InputError("a folder of ground truth has no splits: leave out --split")
        name = ground_truth_folder.name_of(ground_truth)
        return [Source(name, ground_truth_folder.SPLIT, str(data_dir), str(ground_truth), first_frame)]
    if first_frame is not None:
        raise InputError(f"{ground_truth_folder.FLAG} belongs to --ground_truth: leave it out")
    if len(set(splits)) < len(splits) or not splits:
        raise InputError(f"splits {', '.join(splits) or '(none)'}: give each once")
    return [Source(dataset_name(dataset or ""), split, str(data_dir)) for split in splits]


def dataset_name(dataset: str) -> str:
    """Returns the spelling of a dataset's name if only the case differs.

    Raises:
        InputError: several are named.
    """
    members = dataset_names.members(dataset)
    if len(members) > 1:
        raise InputError(
            f"{dataset!r} names {len(members)} datasets: give one of {', '.join(members)}, or score all of them with "
            "evaluate_several"
        )
    name, slash, config = members[0].partition("/")
    known = {each.lower(): each for each in catalog.names()}
    return known.get(name.lower(), name) + slash + config


def open_splits(predictions: Sequence[str | Path], given: Sequence[Source], reading: Mapping[str, Any]) -> list[Split]:
    """Opens the splits and finds their predictions.

    Args:
        predictions: a folder per split, or one for all.
        given: the splits.
        reading: options of `prediction_folders.find`.

    Raises:
        InputError: something is missing or damaged, or the numbers of folders and splits differ.
    """
    if len(predictions) not in (1, len(given)):
        raise InputError(
            f"{len(predictions)} folders of predictions for {len(given)} splits: give one each, or one for all"
        )
    parts = []
    for folder, source in zip(list(predictions) * (len(given) // len(predictions)), given, strict=True):
        store = source.open()
        store.require_gaze("score on a dataset with eye-tracking data")
        lengths = {video.id: video.num_frames for video in store.videos}
        sizes = {video.id: (video.map_height, video.map_width) for video in store.videos}
        found = prediction_folders.find(folder, source.dataset, lengths, sizes=sizes, **reading)
        parts.append(Split(source.split, source, store, found, Path(folder)))
    return parts


def dataset_record(parts: Sequence[Split]) -> tuple[dict[str, Any], list[Any], list[str]]:
    """Describes the ground truth.

    Returns:
        The record: `name`, `version`, `splits`, `digest`, `options`; the state of the files, to validate scores of an
        earlier run; and notes on a folder of ground truth, as sentences.

    Raises:
        InputError: the ground truth is damaged.
    """
    source, store = parts[0].source, parts[0].store
    if isinstance(store, FolderTruth):
        digest, remarks = ground_truth_folder.inspect(store)
        counted = {what: count.first for what, count in store.counted.items()}
        options = {"folder": str(source.folder), "layout": store.maps.layout, "first_frame": counted}
        return (
            {"name": source.dataset, "version": "", "splits": [source.split], "digest": digest, "options": options},
            [],
            remarks,
        )
    builder = catalog.open_builder(source.dataset, source.data_dir)
    info = builder.info
    files = [Path(path) for part in parts for path in info.splits[part.name].filepaths]
    record = {
        "name": source.dataset,
        "version": str(info.version),
        "splits": [part.name for part in parts],
        "digest": dataset_digest(str(builder.data_path)),
        "options": dict(info.metadata["settings"]),
    }
    return record, [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files], []
