"""Inputs of an evaluation on several datasets: where each one's predictions are, and what is missing.

A folder of predictions is read in one of two ways:

  a folder per dataset   if any of its folders is named like one of the datasets (`diem`, `Coutrot1` or, as in STAViS's
                         results, `Coutrot_db1`; in any case; `name.config` if a dataset is given with several configs).
                         A dataset without such a folder has no predictions.
  videos side by side    otherwise: the predictions of a video are found by its name in all of the datasets. A name that
                         two of them share, such as Coutrot's `clip1`, is refused.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avsd_jax.data import catalog, dataset_names
from avsd_jax.errors import InputError
from avsd_jax.evaluation import evaluation_inputs
from avsd_jax.evaluation.evaluation_inputs import Source, Split
from avsd_jax.map_files import contents

NOT_BUILT, NO_PREDICTIONS = "not built", "no predictions"


def name_folders(datasets: str | Sequence[str]) -> dict[str, str]:
    """Returns the datasets by the name of their folder: the name without a config if that identifies it.

    Args:
        datasets: as `dataset_names.members` takes them, in any case.

    Raises:
        InputError: no name, or a name twice.
    """
    names = [evaluation_inputs.dataset_name(name) for name in dataset_names.members(datasets)]
    if len(set(names)) < len(names):
        raise InputError(f"dataset {datasets!r} names one twice: name each once")
    return {title.replace("/", "."): name for title, name in zip(catalog.titles(names), names, strict=True)}


def usual_splits(datasets: Mapping[str, str], data_dir: str | Path) -> list[str]:
    """Returns the splits that are tested: "test", or the folds `test_1`, ... of datasets that have these.

    Args:
        datasets: as `name_folders` returns them; the first that is built decides.
        data_dir: folder of built datasets.

    Raises:
        InputError: there is no such dataset, or it is damaged.
    """
    absent = catalog.lacking(list(datasets.values()), data_dir)
    for name in (name for name in datasets.values() if name not in absent):
        known = catalog.open_builder(name, data_dir).info.metadata["splits"]
        folds = sorted(split for split in known if split.startswith("test_"))
        return folds if folds and "test" not in known else ["test"]
    return ["test"]


def open_several(
    predictions: Sequence[str | Path],
    datasets: Mapping[str, str],
    splits: Sequence[str],
    data_dir: str | Path,
    reading: Mapping[str, Any],
    skip_missing: bool = False,
) -> tuple[dict[str, list[Split]], dict[str, str]]:
    """Opens the splits of several datasets and finds their predictions.

    Args:
        predictions: a folder per split, or one for all; see the module.
        datasets: as `name_folders` returns them.
        splits: names of splits, which all datasets must have.
        data_dir: folder of built datasets.
        reading: options of `prediction_folders.find`.
        skip_missing: skip datasets that are not built or have no predictions, if there are others.

    Returns:
        The splits of each dataset; and of those that are skipped, why.

    Raises:
        InputError: something is missing, damaged or ambiguous; one message names all that is, and how to build what is
            not built.
    """
    given = {title: evaluation_inputs.sources(name, splits, data_dir) for title, name in datasets.items()}
    if len(predictions) not in (1, len(splits)):
        raise InputError(
            f"{len(predictions)} folders of predictions for {len(splits)} splits: give one each, or one for all"
        )
    absent = catalog.lacking(list(datasets.values()), data_dir)
    skipped = {title: NOT_BUILT for title, name in datasets.items() if name in absent}
    missing = [str(catalog.not_built(absent, data_dir))] if absent else []
    roots, wrong = [_Root(Path(root), datasets) for root in predictions], []
    ids: dict[str, set[str]] = {}
    for title in (title for title in datasets if title not in skipped):
        try:
            ids[title] = _ids(given[title])
        except InputError as error:  # no such split, or a damaged dataset
            wrong.append(str(error))
    for root in roots:
        wrong += root.shared(ids)
    found: dict[str, list[Split]] = {}
    for title in ids:
        try:
            found[title] = _open(title, given[title], roots, ids, reading)
        except contents.NoPredictionsError as error:
            skipped[title] = NO_PREDICTIONS
            missing.append(str(error))
        except InputError as error:
            wrong.append(str(error))
    if wrong or (missing and not (skip_missing and found)):
        hint = ["--skip_missing scores the others"] if missing and found and not wrong else []
        raise InputError("; ".join([*missing, *wrong, *hint]))
    return found, {title: skipped[title] for title in datasets if title in skipped}


class _Root:
    """A folder of predictions of several datasets.

    Attributes:
        path: its location.
        folders: title -> the folder that is named like the dataset; empty if the videos lie side by side.
    """

    def __init__(self, path: Path, datasets: Mapping[str, str]):
        if not path.is_dir():
            raise InputError(f"no folder {path}: give --predictions the folder that holds one folder per dataset")
        self.path = path
        inside = {contents.composed(p.name).lower(): p for p in contents.children(path) if p.is_dir()}
        self.folders: dict[str, Path] = {}
        for title in datasets:
            known = dataset_names.SETS.get(title)
            for name in (title, *(known.spellings if known else ())):
                if name.lower() in inside:
                    self.folders.setdefault(title, inside[name.lower()])

    def of(self, title: str) -> Path:
        """Returns the folder in which a dataset's videos are looked for.

        Raises:
            NoPredictionsError: other datasets have folders.
        """
        if self.folders and title not in self.folders:
            raise contents.NoPredictionsError(
                f"{self.path} holds no predictions for {title}: it has folders for {', '.join(self.folders)} and none "
                "of that name"
            )
        return self.folders.get(title, self.path)

    def shared(self, ids: Mapping[str, set[str]]) -> list[str]:
        """Returns the problem if predictions lie side by side for a video whose name two datasets have.

        Args:
            ids: title -> ids of its videos.
        """
        if self.folders:
            return []
        present = {contents.composed(p.name if p.is_dir() else p.stem) for p in contents.children(self.path)}
        for one, other in itertools.combinations(ids, 2):
            both = sorted(video for video in ids[one] & ids[other] if contents.composed(video) in present)
            if both:
                return [
                    f"{self.path} has predictions for {both[0]!r}, which is a video of {one} and of {other}: give each "
                    f"dataset a folder of its own, such as {self.path / one / both[0]}"
                ]
        return []


def _ids(sources: Sequence[Source]) -> set[str]:
    """Returns the ids of the videos of all splits of a dataset."""
    return {video.id for source in sources for video in source.open().videos}


def _open(
    title: str,
    sources: Sequence[Source],
    roots: Sequence[_Root],
    ids: Mapping[str, set[str]],
    reading: Mapping[str, Any],
) -> list[Split]:
    """Opens the splits of one of the datasets."""
    others = set().union(*(own for other, own in ids.items() if other != title))
    side_by_side = {"others": others} if not any(root.folders for root in roots) else {}
    parts = evaluation_inputs.open_splits([root.of(title) for root in roots], sources, {**reading, **side_by_side})
    each = roots if len(roots) == len(parts) else roots * len(parts)
    return [dataclasses.replace(part, given=root.path) for part, root in zip(parts, each, strict=True)]
