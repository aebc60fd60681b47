"""A look at a set's files before they are built: what is there, what is missing, and what would stop a build.

Reads only. Pictures are not decoded, but for density maps, which are looked at in small to find empty ones.
"""

import collections
import concurrent.futures
import functools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from avsd_jax.data import fold_lists, label_files, layouts
from avsd_jax.data.build_options import BuildOptions
from avsd_jax.data.source import Inspection
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
        listed: number of frames that the lists give each of their videos, None where they do not say; empty if the
            lists are missing or wrong.
        videos: what was found of each video that is listed or there.
        labelled: number of labelled frames by video.
        problems: sentences about what would stop a build.
        notes: sentences about what would not.
        watched: whether the set has density maps.
    """

    dataset: str
    layout: str
    listed: Mapping[str, int | None]
    videos: Mapping[str, Inspection]
    labelled: Mapping[str, int]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    watched: bool = True

    def lines(self) -> Iterator[str]:
        """The report as text."""
        found = self.videos.values()
        good = {video: inspection for video, inspection in self.videos.items() if not inspection.problems}
        yield (
            f"{self.dataset}: layout {self.layout}; {len(self.videos)} videos, of which {len(self.listed)} are "
            f"listed and {len(good)} complete"
        )
        frames = sum(inspection.num_frames for inspection in found)
        counts = list(self.listed.values())
        expected = f" ({sum(counts)} in the lists)" if counts and None not in counts else ""
        yield f"  frames: {frames}{expected}"
        yield f"  sizes: {_tally(f'{i.size[0]}x{i.size[1]}' for i in found if i.size)}"
        sounds = (f"{i.sample_rate} Hz, {i.channels} channel(s)" for i in found if i.sample_rate)
        yield f"  sound: {_tally(sounds)}"
        empty = {video: inspection.empty_maps for video, inspection in self.videos.items() if inspection.empty_maps}
        if self.watched:
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
    looks = {video: functools.partial(source.inspect, video, listed.get(video)) for video in names}
    found = look_at(looks, num_workers)
    problems += problems_of(found)
    notes = [*lists.differences, *lists.oddities] if lists else []
    notes += notes_of(found)
    labelled, wrong = _labels(Path(manual_dir), dataset, found)
    counts = {name: video.num_frames for name, video in listed.items()}
    return Report(dataset, layout, counts, found, labelled, (*problems, *wrong), tuple(notes))


def look_at(looks: Mapping[str, Callable[[], Inspection]], num_workers: int = 1) -> dict[str, Inspection]:
    """What is found of each video, with a bar while it lasts.

    Args:
        looks: how to look at each; picklable where there are workers.
        num_workers: processes.
    """
    return dict(zip(looks, _called(list(looks.values()), num_workers), strict=True))


def _called(looks: Sequence[Callable[[], Inspection]], num_workers: int) -> Iterator[Inspection]:
    if num_workers == 1 or len(looks) < 2:
        yield from tqdm(map(_call, looks), total=len(looks), unit="video", leave=False)
        return
    context = multiprocessing.get_context("spawn")
    with (
        one_thread_each(),
        concurrent.futures.ProcessPoolExecutor(num_workers, context, initializer=end_with_parent) as pool,
    ):
        yield from tqdm(pool.map(_call, looks), total=len(looks), unit="video", leave=False)


def _call(look: Callable[[], Inspection]) -> Inspection:
    return look()


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


def problems_of(found: Mapping[str, Inspection]) -> list[str]:
    """Sentences about what would stop a build, each with its video."""
    return [f"{video}: {problem}" for video, inspection in found.items() for problem in inspection.problems]


def notes_of(found: Mapping[str, Inspection]) -> Iterator[str]:
    """Notes of videos; what several share, once."""
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
