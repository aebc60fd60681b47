"""A look at a set's files before they are built: what is there, what is missing, and what would stop a build.

Reads only. Pictures are not decoded, but for density maps, which are looked at in small to find empty ones.
"""

import collections
import concurrent.futures
import functools
import multiprocessing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from avsd_jax.data import fold_lists, label_files, layouts, set_names
from avsd_jax.data.build_options import BuildOptions
from avsd_jax.data.fold_lists import FoldLists
from avsd_jax.data.source import Inspection, Source
from avsd_jax.errors import InputError
from avsd_jax.worker_processes import end_with_parent, one_thread_each

# Names and sentences of a kind that a report spells out; it counts the rest.
_SHOWN = 5


@dataclass(frozen=True)
class Report:
    """What was found of one set.

    Attributes:
        dataset: the set's key.
        layout: of the files.
        lists: the fold lists; None if they are missing or wrong.
        videos: what was found of each video that is listed or there.
        labelled: number of labelled frames by video.
        problems: sentences about what would stop a build.
        notes: sentences about what would not.
    """

    dataset: str
    layout: str
    lists: FoldLists | None
    videos: Mapping[str, Inspection]
    labelled: Mapping[str, int]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """The report as text."""
        found = self.videos.values()
        listed = self.lists.videos if self.lists else {}
        good = {video: inspection for video, inspection in self.videos.items() if not inspection.problems}
        yield (
            f"{self.dataset}: layout {self.layout}; {len(self.videos)} videos, of which {len(listed)} are listed and "
            f"{len(good)} complete"
        )
        frames = sum(inspection.num_frames for inspection in found)
        counts = [video.num_frames for video in listed.values()]
        expected = f" ({sum(counts)} in the lists)" if counts and None not in counts else ""
        yield f"  frames: {frames}{expected}"
        yield f"  sizes: {_tally(f'{i.size[0]}x{i.size[1]}' for i in found if i.size)}"
        sounds = (f"{i.sample_rate} Hz, {i.channels} channel(s)" for i in found if i.sample_rate)
        yield f"  sound: {_tally(sounds)}"
        empty = {video: inspection.empty_maps for video, inspection in self.videos.items() if inspection.empty_maps}
        yield f"  empty maps: {sum(map(len, empty.values()))}" + _some(
            f"{video} {', '.join(map(str, frames[:_SHOWN]))}{', ...' if len(frames) > _SHOWN else ''}"
            for video, frames in empty.items()
        )
        dropped = sum(inspection.dropped_points for inspection in found)
        if dropped:
            yield f"  gaze outside of the picture: {dropped} points"
        yield f"  labels: {len(self.labelled)} videos, {sum(self.labelled.values())} frames"
        for kind, sentences in (("note", self.notes), ("problem", self.problems)):
            for sentence in sentences:
                yield f"  {kind}: {sentence}"


def check(manual_dir: str | Path, dataset: str, options: BuildOptions, num_workers: int = 1) -> Report:
    """Looks at a set's files.

    Args:
        manual_dir: root of the user's tree.
        dataset: the set's key, such as "diem".
        options: those that the set would be built with.
        num_workers: processes that look at videos.

    Raises:
        InputError: no such set, or nothing of it is in the tree; the message lists what was looked for.
    """
    layout, source = layouts.find(manual_dir, dataset, options)
    problems: list[str] = []
    there, lists = (), None
    try:
        there = source.videos()
        lists = fold_lists.read(manual_dir, dataset, there)
    except InputError as error:
        problems.append(str(error))
    listed = lists.videos if lists else {}
    names = sorted({*there, *listed})
    look = functools.partial(_inspect, source)
    found = dict(zip(names, _map(look, [(video, listed.get(video)) for video in names], num_workers), strict=True))
    problems += [f"{video}: {problem}" for video in names for problem in found[video].problems]
    notes = [*lists.differences, *lists.oddities] if lists else []
    notes += _grouped(found)
    labelled, wrong = _labels(Path(manual_dir), dataset, found)
    return Report(dataset, layout, lists, found, labelled, (*problems, *wrong), tuple(notes))


def _inspect(source: Source, job: tuple[str, fold_lists.ListedVideo | None]) -> Inspection:
    return source.inspect(*job)


def _map(look: functools.partial, jobs: Sequence[tuple], num_workers: int) -> Iterable[Inspection]:
    if num_workers == 1 or len(jobs) < 2:
        yield from tqdm(map(look, jobs), total=len(jobs), unit="video", leave=False)
        return
    context = multiprocessing.get_context("spawn")
    with (
        one_thread_each(),
        concurrent.futures.ProcessPoolExecutor(num_workers, context, initializer=end_with_parent) as pool,
    ):
        yield from tqdm(pool.map(look, jobs), total=len(jobs), unit="video", leave=False)


def _labels(root: Path, dataset: str, found: Mapping[str, Inspection]) -> tuple[dict[str, int], list[str]]:
    """Labelled frames by video, and what is wrong with label files."""
    labelled, problems = {}, []
    try:
        files = label_files.files(root, dataset)
    except InputError as error:
        return {}, [str(error)]
    for video, path in files.items():
        length = found[video].num_frames if video in found else 0
        if length or video not in found:
            try:
                labels = label_files.read(path)
                labelled[video] = len(label_files.fit(labels, length, str(path)) if length else labels)
            except InputError as error:
                problems.append(str(error))
    return labelled, problems


def _grouped(found: Mapping[str, Inspection]) -> Iterator[str]:
    """Notes that several videos share, once."""
    videos = collections.defaultdict(list)
    for video, inspection in found.items():
        for note in inspection.notes:
            videos[note].append(video)
    for note, names in videos.items():
        yield f"{note}{_some(names)}"


def _tally(values: Iterable[str]) -> str:
    counts = collections.Counter(values).most_common()
    return ", ".join(f"{value} in {count}" for value, count in counts) or "none"


def _some(sentences: Iterable[str]) -> str:
    """Some of them, in brackets."""
    sentences = list(sentences)
    rest = f"; and {len(sentences) - _SHOWN} more" if len(sentences) > _SHOWN else ""
    return f" ({'; '.join(sentences[:_SHOWN])}{rest})" if sentences else ""


def wanted(datasets: str) -> tuple[str, ...]:
    """The datasets of a command line, which must be among the six, perhaps with a config.

    Raises:
        InputError: one is not.
    """
    names = set_names.members(datasets)
    for name in names:
        set_names.named(name.partition("/")[0])
    return names
