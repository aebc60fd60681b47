"""Calibration of the classifier of a run, on videos that it neither trained on nor is scored on."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from avsd_jax.common import hub, staging
from avsd_jax.data import dataset_names
from avsd_jax.data.catalog import DEFAULT_DATA_DIR, open_store
from avsd_jax.data.consistency_grid import EVERY, scored_frame
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.runs import temperature, weights_file
from avsd_jax.runs.checkpoint import load_newest, write_config
from avsd_jax.runs.classifier import Classifier
from avsd_jax.runs.stores import calibration_store
from avsd_jax.scoring.calibration import calibrate, calibration_error, reliability
from avsd_jax.scoring.consistency import Grid


@dataclasses.dataclass(frozen=True)
class Videos:
    """The videos to calibrate on, as their owner names them; empty fields are those of the run.

    Attributes:
        dataset: one or several, joined by commas.
        split: name of a split; if it and the dataset are empty, the videos that the run held out are used, or the
            training split of a model that was converted, not trained.
        data_dir: folder of built datasets.
    """

    dataset: str = ""
    split: str = ""
    data_dir: str = ""


def calibrate_run(
    folder: str | Path,
    videos: Videos | None = None,
    *,
    out: str | Path | None = None,
    every: float = EVERY,
    batch_size: int = 8,
) -> dict[str, Any]:
    """Finds the temperature of a run's classifier and writes it into its folder, as `calibration.json`.

    Args:
        folder: of a converted or shared classifier, of a run of model `avc`, or of a run gated by a classifier; or the
            address of one on a hub, which needs `out`.
        videos: to calibrate on.
        out: new or empty folder that gets a copy of the model with its temperature; by default `folder` gets it.
        every: seconds between two scored frames.
        batch_size: clips per batch.

    Returns:
        The record: `temperature`, `step`, `dataset`, `split`, `videos` and `frames` (with labels, their numbers),
        `every`, and the expected calibration error on these frames, `ece_before` and `ece_after`.

    Raises:
        InputError: the run has no classifier, or is on a hub and there is no `out`; it held out no videos and none are
            given, they belong to the test split of the run, none of their frames has a label, or the data is not built.
        StorageError: the disk is full or read-only.
    """
    if out is not None:
        staging.check_target(out)
    elif hub.is_address(folder):
        raise InputError(f"{folder} is on a hub: give --out=DIR, which gets a copy of the model with its calibration")
    place = hub.pinned(folder)
    config, variables, step = load_newest(place)
    classifier = Classifier.from_run(place, config, variables)
    own = config.copy_and_resolve_references()
    with config.unlocked():
        store, dataset, split = _open(place, config, step, videos or Videos())
    labels = {
        (video, frame): int(store.avc_label(video)[frame])
        for video, index in enumerate(store.videos)
        for frame in dict.fromkeys(scored_frame(f, index.fps, every) for f in range(index.num_frames))
    }
    labels = {where: label for where, label in labels.items() if label >= 0}
    if not labels:
        raise InputError(f"{store.name} has no labels of consistency: calibrate on a dataset that has")
    grid = Grid.of(classifier, store, every, labels, batch_size=batch_size)
    truth, logits = np.array(list(labels.values())), grid.at(*zip(*labels, strict=True))
    found = calibrate(logits, truth)
    before, after = (calibration_error(reliability(logits / t, truth)) for t in (1.0, found))
    record = {"temperature": found, "step": step, "dataset": dataset, "split": split, "every": every}
    record |= {"videos": len({video for video, _ in labels}), "frames": len(labels)}
    record |= {"ece_before": before, "ece_after": after}
    if out is None:
        temperature.write(place, record)
        return record
    with staging.new_folder(out) as copied:
        write_config(copied, own)
        weights_file.write(copied, weights_file.kept(own, variables, place), step)
        temperature.write(copied, record)
    return record


def _open(folder: str, config: ConfigDict, step: int, given: Videos) -> tuple[VideoStore, str, str]:
    """Opens the videos to calibrate on; also returns their dataset and split, in words."""
    own = {name: config.get(name, "") for name in ("dataset", "train_split", "test_split", "data_dir")}
    dataset, split = given.dataset or own["dataset"], given.split or own["train_split"]
    if not dataset or not split:
        raise InputError(f"{folder} names no videos that it was trained on: give --dataset=NAME and --split=NAME")
    config.update(own | {"data_dir": given.data_dir or own["data_dir"] or DEFAULT_DATA_DIR})
    if given.dataset or given.split or step == 0:
        store = open_store(dataset, split, config.data_dir)
        if step > 0 and split == config.train_split and _shared(dataset, config.dataset):
            logging.warning("%s was trained on %s: probabilities of other videos stay too certain", folder, store.name)
    elif config.calibration_share:
        store, split = calibration_store(config), f"{split}, held out"
    else:
        raise InputError(
            f"{folder} held out no videos of its training split (calibration_share=0): give --split=NAME of others, or "
            "train with --config.calibration_share=0.1"
        )
    _refuse_test_videos(store, dataset, split, config)
    return store, dataset, split


def _shared(one: str, other: str) -> list[str]:
    """Returns the datasets of the second that are in the first, perhaps in another config."""
    given = {name.partition("/")[0] for name in dataset_names.members(one)}
    return [name for name in dataset_names.members(other) if name.partition("/")[0] in given]


def _refuse_test_videos(store: VideoStore, dataset: str, split: str, config: ConfigDict) -> None:
    """Raises InputError if a video belongs to the split that the run is scored on."""
    shared = _shared(dataset, config.dataset) if config.dataset else []
    if not shared:
        return
    fix = "give --split=NAME of videos that it is not scored on"
    if split == config.test_split:
        raise InputError(f"{store.name} is the test split of this run: {fix}")
    both = _ids(store, dataset) & _ids(open_store(shared, config.test_split, config.data_dir), shared)
    if both:
        raise InputError(
            f"{len(both)} of the {len(store.videos)} videos of {store.name} are in {config.test_split}, the test split "
            f"of this run (such as {min(both)}): {fix}"
        )


def _ids(store: VideoStore, dataset: str | Sequence[str]) -> set[str]:
    """Returns the videos' ids with their datasets."""
    names = dataset_names.members(dataset)
    return {video.id if len(names) > 1 else f"{names[0].partition('/')[0]}/{video.id}" for video in store.videos}
