"""Reader of the fold lists that come with STAViS's data and define the splits, compared with the published ones.

They are in `manual_dir`, in `fold_lists/` (STAViS) or `fold_list/` (the survey's tree), or in a subfolder named after
the dataset, with its name in STAViS's or the survey's spelling:

  <SET>_list_train_1_fps.txt, ..._test_3_fps.txt   lines `<video> <frames> <fps>`
  DIEM_list_train_fps.txt, DIEM_list_test_fps.txt  the same: DIEM has one split, which stands for all three
  train_stavis_1.csv, ... test_stavis_3.csv        GASP's copies, for DIEM, Coutrot1 and Coutrot2, where there is no
                                                   other: `video_id,fps,scene_type,dataset`; no numbers of frames

Errors of the published lists (videos that are tested in two splits, or in none) are reported and not corrected, because
published scores depend on them.
"""

import csv
import io
import itertools
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from absl import logging

from avsd_jax.common import safe_paths
from avsd_jax.data import dataset_names
from avsd_jax.errors import InputError
from avsd_jax.sources import plausible
from avsd_jax.sources.fold_checksums import CANONICAL, differing

FOLDERS = ("fold_lists", "fold_list")
PARTS = ("train", "test")
NUMBERS = ("1", "2", "3")

_COUNT = re.compile(r"\d{1,15}")
_GASP_COLUMNS = ["video_id", "fps", "scene_type", "dataset"]
_GASP_SETS = {"diem": "diem", "coutrot1": "coutrot1", "coutrotdb1": "coutrot1", "coutrotdatabase1": "coutrot1"}
_GASP_SETS |= {name.replace("1", "2"): key.replace("1", "2") for name, key in _GASP_SETS.items()}
# Recorded, but in no list; the survey labelled them.
DIEM_UNLISTED = ("ami_ib4010_closeup_720x576", "ami_ib4010_left_720x576", "news_tony_blair_resignation_720x540")
# Names that existing lists are known to lack or to spell differently (one of GASP's is truncated).
_KNOWN_TO_DIFFER = {
    "diem": (*DIEM_UNLISTED, "planet_earth_jungles_monkeys_1280x704"),
    "summe": ("St_Maarten_Landing", "Scuba"),
}


@dataclass(frozen=True)
class ListedVideo:
    """A line of a list.

    Attributes:
        video: its name, in STAViS's spelling.
        num_frames: as listed, which may differ from the files by one or two; None in GASP's lists.
        fps: frames per second as listed: 29.9997 for 30 in STAViS's lists, whole numbers in GASP's.
    """

    video: str
    num_frames: int | None
    fps: float


@dataclass(frozen=True)
class FoldLists:
    """The lists of one dataset.

    Attributes:
        dataset: its key, such as "diem".
        splits: `train_1`, `test_1` ... `test_3`: videos in the order of the list, which matters because STAViS's loader
            silences the last; `all`: every listed video, sorted by name.
        videos: the entry of each video.
        files: the lists.
        differences: sentences about differences from the published ones.
        oddities: sentences about overlaps and omissions, which the published lists have, too.
    """

    dataset: str
    splits: Mapping[str, tuple[str, ...]]
    videos: Mapping[str, ListedVideo]
    files: tuple[Path, ...]
    differences: tuple[str, ...]
    oddities: tuple[str, ...]


def read(manual_dir: str | Path, dataset: str, known: Iterable[str] = (), log: bool = True) -> FoldLists:
    """Reads the lists of a dataset; logs differences from the published ones as warnings, and oddities.

    Args:
        manual_dir: root of the user's tree; nothing outside of it is read.
        dataset: its key, such as "diem".
        known: names of existing videos (such as folders of frames), which help to name what a list lacks.
        log: False if the caller reports the differences and oddities.

    Raises:
        InputError: no such dataset; a list is missing, duplicated, a link or malformed; or one names a video twice, in
            both parts of a split, by a path, or contradicts another list about its frames or rate.
    """
    dataset_names.named(dataset)
    files = _find(Path(manual_dir), dataset)
    lists = {split: _read_list(path, dataset) for split, path in files.items()}
    videos = _merge(lists, files)
    names = {split: tuple(video.video for video in listed) for split, listed in lists.items()}
    _check_disjoint(names)
    others = [dataset_names.video_id(dataset, name) for name in (*videos, *known, *_KNOWN_TO_DIFFER.get(dataset, ()))]
    result = FoldLists(
        dataset,
        {f"{part}_{n}": names.get(f"{part}_{n}") or names[part] for n in NUMBERS for part in PARTS}
        | {"all": tuple(sorted(videos))},
        videos,
        tuple(dict.fromkeys(files.values())),
        tuple(itertools.chain.from_iterable(_differences(dataset, split, lists[split], others) for split in lists)),
        tuple(_oddities(dataset, names, videos)),
    )
    for sentence in result.differences if log else ():
        logging.warning("%s", sentence)
    for sentence in result.oddities if log else ():
        logging.info("%s", sentence)
    return result


def present(manual_dir: str | Path) -> bool:
    """Returns whether there is a folder of fold lists."""
    return any((Path(manual_dir) / name).is_dir() for name in FOLDERS)


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------


def _find(root: Path, dataset: str) -> dict[str, Path]:
    """Finds the list of each split, named "train_1" ... or "train" and "test"."""
    spellings = dataset_names.SETS[dataset].spellings
    folders = [safe_paths.below(root, *names) for f in FOLDERS for names in ((f,), *((f, s) for s in spellings))]
    found = _matching(folders, re.compile(rf"(?:{'|'.join(spellings)})_list_(train|test)(?:_([123]))?_fps\.txt"))
    if not found and dataset in _GASP_SETS.values():
        found = _matching(folders, re.compile(r"(train|test)_stavis_([123])\.csv"))
    one_split = dataset == "diem" and not any(split[-1] in NUMBERS for split in found)
    expected = list(PARTS) if one_split else [f"{part}_{n}" for n in NUMBERS for part in PARTS]
    fix = "put the lists of STAViS's fold_lists.tar.gz there"
    for split in expected:
        if split not in found:
            name = f"{dataset_names.SETS[dataset].stavis}_list_{split}_fps.txt"
            raise InputError(f"{root} lacks the fold list {name} (looked in {', '.join(FOLDERS)}): {fix}")
    for split in found:
        if split not in expected:
            raise InputError(f"{found[split]} does not belong to the other lists of {dataset}: remove it")
    return {split: found[split] for split in expected}


def _matching(folders: Sequence[Path], pattern: re.Pattern[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        for name in safe_paths.file_names(folder):
            if match := pattern.fullmatch(name):
                split = "_".join(filter(None, match.groups()))
                if split in found:
                    raise InputError(f"{found[split]} and {folder / name} are the same list: keep one of them")
                found[split] = safe_paths.below(folder, name)
    return found


def _read_list(path: Path, dataset: str) -> list[ListedVideo]:
    text = safe_paths.read_text(path)
    videos = _read_gasp(path, text, dataset) if path.suffix == ".csv" else _read_stavis(path, text, dataset)
    if not videos:
        raise InputError(f"{path} names no video of {dataset}: put the list of STAViS's fold_lists.tar.gz there")
    names = [video.video for video in videos]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path} names {name} twice: remove one of the lines")
    return videos


def _read_stavis(path: Path, text: str, dataset: str) -> list[ListedVideo]:
    videos = []
    for number, line in enumerate(text.splitlines(), 1):
        if fields := line.split():
            where = f"{path}, line {number}"
            if len(fields) != 3 or not (_COUNT.fullmatch(fields[1]) and int(fields[1]) > 0):
                raise InputError(f"{where}: {line.strip()!r} is not `<video> <frames> <fps>`: write it like that")
            videos.append(_listed(where, dataset, fields[0], int(fields[1]), fields[2]))
    return videos


def _read_gasp(path: Path, text: str, dataset: str) -> list[ListedVideo]:
    rows = csv.reader(io.StringIO(text))
    if next(rows, None) != _GASP_COLUMNS:
        raise InputError(
            f"{path} does not begin with {','.join(_GASP_COLUMNS)}: put GASP's file there, or STAViS's lists"
        )
    videos = []
    for row in filter(None, rows):
        where = f"{path}, line {rows.line_num}"
        if len(row) != len(_GASP_COLUMNS):
            raise InputError(f"{where}: {len(row)} columns instead of {len(_GASP_COLUMNS)}: fix the line")
        if _GASP_SETS.get(re.sub("[^a-z0-9]", "", row[3].lower())) == dataset:
            videos.append(_listed(where, dataset, row[0], None, row[1]))
    return videos


def _listed(where: str, dataset: str, name: str, num_frames: int | None, rate: str) -> ListedVideo:
    try:
        fps = float(rate)
    except ValueError:
        fps = math.nan
    if not 0 < fps < math.inf:
        raise InputError(f"{where}: {rate!r} is not a number of frames per second: fix the line")
    plausible.checked(fps, "frames per second", where)
    plausible.checked(1 if num_frames is None else num_frames, "frames", where)
    return ListedVideo(dataset_names.video_id(dataset, safe_paths.checked_name(name, where)), num_frames, fps)


# ---------------------------------------------------------------------------------------------------------------------
# Checks
# ---------------------------------------------------------------------------------------------------------------------


def _merge(lists: Mapping[str, Sequence[ListedVideo]], files: Mapping[str, Path]) -> dict[str, ListedVideo]:
    """Merges the lists; every video appears once."""
    videos: dict[str, ListedVideo] = {}
    origin: dict[str, Path] = {}
    for split, listed in lists.items():
        for video in listed:
            if videos.setdefault(video.video, video) != video:
                raise InputError(
                    f"{origin[video.video]} and {files[split]} disagree about the frames or rate of {video.video}: "
                    "fix the wrong one"
                )
            origin.setdefault(video.video, files[split])
    return videos


def _check_disjoint(names: Mapping[str, Collection[str]]) -> None:
    for split in names:
        part, _, number = split.partition("_")
        twice = sorted(set(names[split]) & set(names["_".join(filter(None, ("test", number)))]))
        if part == "train" and twice:
            raise InputError(
                f"split {number or 1} of the fold lists both trains and tests on {', '.join(twice)}: remove each from "
                "one of its two lists"
            )


def _differences(dataset: str, split: str, listed: Sequence[ListedVideo], others: Sequence[str]) -> Iterable[str]:
    """Yields the differences of a list from the published one."""
    canonical = CANONICAL[dataset].get(split) or CANONICAL[dataset][split.split("_")[0]]
    names = [video.video for video in listed]
    only_one = differing(names, canonical, others)
    if only_one != frozenset():
        yield (
            f"{dataset} {split} differs from the published list ({len(names)} videos here, {canonical.videos} there): "
            + _whose(names, only_one)
        )
        return
    counts = [video.num_frames for video in listed]
    if None not in counts and sum(counts) != canonical.frames:
        yield f"{dataset} {split} has the published videos, but {sum(counts)} frames instead of {canonical.frames}"


def _whose(names: Collection[str], only_one: frozenset[str] | None) -> str:
    if only_one is None:
        return "which videos differ cannot be determined from the known names"
    extra, missing = sorted(only_one & set(names)), sorted(only_one - set(names))
    parts = [("only here", extra), ("only there", missing)]
    return "; ".join(f"{title}: {', '.join(videos)}" for title, videos in parts if videos)


def _oddities(dataset: str, names: Mapping[str, Sequence[str]], videos: Mapping[str, ListedVideo]) -> Iterable[str]:
    unlisted = [name for name in DIEM_UNLISTED if name not in videos]
    if dataset == "diem" and unlisted:
        yield f"diem: {len(videos)} of the 84 recorded videos are listed; in no list: {', '.join(unlisted)}"
    if any(video.num_frames is None for video in videos.values()):
        yield f"{dataset}: the lists are GASP's, which round the rates and omit the numbers of frames"
    if dataset == "diem":
        return
    tested = {video: [n for n in NUMBERS if video in names[f"test_{n}"]] for video in sorted(videos)}
    often = [f"{video} ({' and '.join(numbers)})" for video, numbers in tested.items() if len(numbers) > 1]
    never = [video for video, numbers in tested.items() if not numbers]
    if often:
        yield f"{dataset}: tested in more than one split: {', '.join(often)}"
    if never:
        yield f"{dataset}: tested in no split: {', '.join(never)}"
    for n in NUMBERS:
        left_out = sorted(set(videos).difference(*(names[f"{part}_{n}"] for part in PARTS)))
        if left_out:
            yield f"{dataset}: in neither list of split {n}: {', '.join(left_out)}"
