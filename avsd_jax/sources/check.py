"""Check of a dataset's files before a build: what is there, what is missing, and what would stop a build.

It only reads. A build begins with the same check and stops on its problems (`Report.refuse`), so that a check passes
exactly if a build does. Images are only decoded on request, except density maps, at 1/8 of the size, to find empty
ones.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from avsd_jax.common.wording import some
from avsd_jax.common.worker_processes import end_with_parent, one_thread_each
from avsd_jax.errors import InputError
from avsd_jax.sources import fold_lists, label_files, layouts
from avsd_jax.sources.base import Inspection
from avsd_jax.sources.build_options import BuildOptions

# Number of names and sentences of a kind in a report; the rest is counted.
_SHOWN = 5
# Number of problems in an error message.
_NAMED = 20


@dataclass(frozen=True)
class Report:
    """Results of the check of one dataset.

    Attributes:
        dataset: its key.
        layout: of the files.
        listed: number of frames of each video in the lists, None if not stated; empty if the lists are missing or
            malformed.
        videos: results for each video that is listed or present.
        splits: the videos of each split; empty if the lists are missing or malformed.
        problems: further sentences about what would stop a build.
        notes: further sentences about what would not.
        watched: whether the dataset has density maps.
    """

    dataset: str
    layout: str
    listed: Mapping[str, int | None]
    videos: Mapping[str, Inspection]
    splits: Mapping[str, Sequence[str]]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    watched: bool = True

    def left_out(self) -> dict[str, str]:
        """Returns the listed videos that `--skip_missing` would skip, with the reason."""
        return {video: self.videos[video].missing[0] for video in self.listed if self.videos[video].missing}

    def stops(self, skip_missing: bool = False) -> dict[str, list[str]]:
        """Returns what would stop a build: each sentence once, with the videos that it is about.

        Args:
            skip_missing: the build skips videos that lack a file.
        """
        found: dict[str, list[str]] = {problem: [] for problem in self.problems}
        left_out = self.left_out() if skip_missing else {}
        for video, inspection in self.videos.items():
            # A video in no list is not built. Without lists, any video may be in one.
            if video not in left_out and (video in self.listed or not self.listed):
                for problem in inspection.problems:
                    found.setdefault(problem, []).append(video)
        empty = empty_splits(self.dataset, self.splits, left_out)
        return found | ({empty: []} if empty else {})

    def refuse(self, skip_missing: bool = False) -> None:
        """Raises InputError if there is anything wrong with the files.

        Args:
            skip_missing: the build leaves out videos that lack a file.

        Raises:
            InputError: the message lists all problems.
        """
        refuse(self.dataset, list(self.stops(skip_missing)))

    def lines(self, skip_missing: bool = False) -> Iterator[str]:
        """Yields the report as text; `skip_missing` as for `stops`."""
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
        yield f"  audio: {_tally(sounds)}"
        empty = {video: inspection.empty_maps for video, inspection in self.videos.items() if inspection.empty_maps}
        if self.watched:
            yield f"  empty maps: {sum(map(len, empty.values()))}" + _in_brackets(
                f"{video} {', '.join(map(str, frames[:_SHOWN]))}{', ...' if len(frames) > _SHOWN else ''}"
                for video, frames in empty.items()
            )
        dropped = sum(inspection.dropped_points for inspection in found)
        if dropped:
            yield f"  gaze outside of the image: {dropped} points"
        labelled = [inspection.labelled for inspection in found if inspection.labelled]
        yield f"  labels: {len(labelled)} videos, {sum(labelled)} frames"
        for note in (*self.notes, *_shared_notes(self._built_or_not())):
            yield f"  note: {note}"
        for video, why in self.left_out().items() if skip_missing else ():
            yield f"  left out: {video}: {why}"
        for problem, videos in self.stops(skip_missing).items():
            yield (
                f"  problem: {videos[0]}: {problem}"
                if len(videos) == 1
                else f"  problem: {problem}{_in_brackets(videos)}"
            )

    def _built_or_not(self) -> Iterator[tuple[str, Inspection]]:
        """Yields the videos; problems of a video in no list become notes."""
        for video, inspection in self.videos.items():
            ignored = inspection.problems if self.listed and video not in self.listed else ()
            yield video, dataclasses.replace(inspection, notes=(*inspection.notes, *ignored))


def refuse(dataset: str, problems: Sequence[str]) -> None:
    """Raises an `InputError` that lists all problems, if there are any.

    Raises:
        InputError: the problem, if it is one; a line for each, if there are several.
    """
    if len(problems) == 1:
        raise InputError(problems[0])
    if problems:
        rest = [f"... and {len(problems) - _NAMED} more"] if len(problems) > _NAMED else []
        raise InputError("\n  ".join([f"{len(problems)} problems with {dataset}:", *problems[:_NAMED], *rest]))


def empty_splits(dataset: str, splits: Mapping[str, Sequence[str]], left_out: Mapping[str, str]) -> str | None:
    """Returns a sentence about the splits that have no video left; None if there are none."""
    empty = [split for split, names in splits.items() if not set(names) - set(left_out)]
    why = f" ({next(iter(left_out.values()))})" if left_out else ""
    return f"no video of {dataset} is left in {', '.join(empty)}{why}: complete the files" if empty else None


def check(
    manual_dir: str | Path, dataset: str, options: BuildOptions, num_workers: int = 1, thorough: bool = False
) -> Report:
    """Checks a dataset's files.

    Args:
        manual_dir: root of the user's tree.
        dataset: its key, such as "diem".
        options: of the build.
        num_workers: number of processes.
        thorough: also read all videos as a build does, which decodes all images.

    Raises:
        InputError: no such dataset, or nothing of it is in the tree; the message lists what was looked for.
    """
    layout, source = layouts.find(manual_dir, dataset, options)
    problems: list[str] = []
    there, lists = (), None
    try:
        there = source.videos()
    except InputError as error:
        problems.append(str(error))
    try:
        lists = fold_lists.read(manual_dir, dataset, there, log=False)
    except InputError as error:
        problems.append(str(error))
    listed = lists.videos if lists else {}
    names = sorted({*there, *listed})
    looks = {video: functools.partial(source.examine, video, listed.get(video), thorough) for video in names}
    found = look_at(looks, num_workers)
    notes = [*lists.differences, *lists.oddities, *_stray_labels(manual_dir, dataset, listed)] if lists else []
    counts = {name: video.num_frames for name, video in listed.items()}
    splits = lists.splits if lists else {}
    return Report(dataset, layout, counts, found, splits, tuple(problems), tuple(notes))


def look_at(looks: Mapping[str, Callable[[], Inspection]], num_workers: int = 1) -> dict[str, Inspection]:
    """Inspects the videos, with a progress bar.

    Args:
        looks: the inspection of each video; picklable if there are workers.
        num_workers: number of processes.
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


def _stray_labels(manual_dir: str | Path, dataset: str, listed: Iterable[str]) -> Iterator[str]:
    """Yields a note on label files of videos that are in no list."""
    try:
        stray = sorted(set(label_files.files(manual_dir, dataset)) - set(listed))
    except InputError:  # a problem, reported for each video
        return
    if stray:
        yield f"labels of videos that are in no list: not used{_in_brackets(stray)}"


def _shared_notes(found: Iterable[tuple[str, Inspection]]) -> Iterator[str]:
    """Yields the notes of videos; a note that several share appears once."""
    videos = collections.defaultdict(list)
    for video, inspection in found:
        for note in inspection.notes:
            videos[note].append(video)
    for note, names in videos.items():
        yield f"{note}{_in_brackets(names)}"


def _tally(values: Iterable[str]) -> str:
    counts = collections.Counter(values).most_common()
    return ", ".join(f"{value} in {count}" for value, count in counts) or "none"


def _in_brackets(sentences: Iterable[str]) -> str:
    """Lists the first sentences, in brackets."""
    shown = some(sentences, _SHOWN)
    return f" ({shown})" if shown else ""
