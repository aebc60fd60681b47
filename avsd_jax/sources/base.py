"""The interface between layouts of files and builders: the videos of one dataset, read or inspected one by one.

A layout is a module of `avsd_jax.sources.layouts` with two members: `looked_for(dataset)`, the files that identify the
layout, and `Reader`, a subclass of `Source`. Builders and `check` know nothing else about layouts.

A build inspects all videos before it reads the first (`Source.examine`), and `check` only does that, so that a build
stops on the problems that `check` finds.
"""

import abc
import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from absl import logging

from avsd_jax.data import schema
from avsd_jax.errors import InputError
from avsd_jax.sources import label_files
from avsd_jax.sources.build_options import BuildOptions
from avsd_jax.sources.fold_lists import ListedVideo

# Number of files of a kind that are named; the others are counted.
_SHOWN = 5


class MissingFile(InputError):
    """A file of a video is missing: the only kind of bad input that `--skip_missing` tolerates."""


@dataclass(frozen=True)
class Inspection:
    """Results of a cheap inspection of a video's files, for the report before a build.

    Attributes:
        num_frames: frames that a build would use; 0 if it would fail.
        counts: numbers of each kind, as the layout names them: {"list": 352, "frames": 351, "maps": 351}.
        sample_rate: of the audio, samples per second in the file; None if there is no audio.
        channels: of the audio; 0 if there is none.
        size: (width, height) of the frames; None if unknown.
        empty_maps: frames without any gaze, counted from 1.
        dropped_points: gaze points outside of the image, which a build drops.
        problems: sentences about what would stop a build.
        missing: those of the problems that are missing files: with `--skip_missing` the video is skipped instead.
        labelled: number of frames with an AVC label.
        notes: sentences about what would not stop a build.
    """

    num_frames: int
    counts: Mapping[str, int]
    sample_rate: int | None = None
    channels: int = 0
    size: tuple[int, int] | None = None
    empty_maps: tuple[int, ...] = ()
    dropped_points: int = 0
    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    labelled: int = 0
    notes: tuple[str, ...] = ()


@dataclass
class Findings:
    """Collects the problems of a video's files, so that one does not hide another.

    Attributes:
        problems: sentences about what would stop a build, in the order of discovery, each once.
        missing: those of them that are missing files.
        notes: sentences about what would not.
    """

    problems: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Records an `InputError` that is raised within as a problem."""
        try:
            yield
        except InputError as error:
            self.add(error)

    def add(self, error: InputError) -> None:
        """Adds a problem."""
        for sentences, fits in ((self.problems, True), (self.missing, isinstance(error, MissingFile))):
            if fits and str(error) not in sentences:
                sentences.append(str(error))

    def each(self, paths: Iterable[Path], look: Callable[[Path], object]) -> None:
        """Inspects files of one kind; names the first bad ones and counts the others."""
        count = 0
        for path in paths:
            try:
                look(path)
            except InputError as error:
                count += 1
                if count <= _SHOWN:
                    self.add(error)
        if count > _SHOWN:
            self.add(InputError(f"{count - _SHOWN} more files of {path.parent} are damaged: restore them"))


@dataclass(frozen=True)
class Source(abc.ABC):
    """The videos of one dataset in one layout. Cheap to create and pickle: it opens no file and lists no folder.

    Attributes:
        root: the user's `manual_dir`; nothing outside of it is read (use `inside`).
        dataset: its key, such as "coutrot1".
        options: of the build; those that the dataset does not have are at their defaults.
    """

    root: Path
    dataset: str
    options: BuildOptions

    @abc.abstractmethod
    def videos(self) -> tuple[str, ...]:
        """Returns the videos that have a folder or file of frames, in STAViS's spelling, sorted.

        Raises:
            InputError: a folder cannot be listed, or two belong to the same video.
        """

    @abc.abstractmethod
    def read(self, video: str, listed: ListedVideo | None) -> schema.SourceVideo:
        """Reads a video; its frames and maps are streamed.

        Args:
            video: its name, in STAViS's spelling.
            listed: its entry in the fold lists; None for a video in no list (the layout's own rate is used then).

        Returns:
            The video with `avc_label` all -1: the builder adds labels. The rate is the list's; the length
            is `agreed_length`'s. Audio is mono at the file's own rate.

        Raises:
            MissingFile: a file is missing; the message names it.
            InputError: a file is damaged, or files contradict each other or the list.
        """

    @abc.abstractmethod
    def inspect(self, video: str, listed: ListedVideo | None) -> Inspection:
        """Inspects a video's files without decoding its images (except maps, to find empty ones).

        The problems include what `read` would raise, as far as it is detected.
        """

    def examine(self, video: str, listed: ListedVideo | None, thorough: bool = False) -> Inspection:
        """Finds what would stop a build of a video, including its labels.

        Args:
            video: its name, in STAViS's spelling.
            listed: its entry in the fold lists.
            thorough: also read the whole video as a build does, which decodes its images.
        """
        found = self.inspect(video, listed)
        findings = Findings(list(found.problems), list(found.missing), list(found.notes))
        labelled = 0
        with findings.caught():
            labels = label_files.load(self.root, self.dataset, video, found.num_frames or None)
            labelled = int((labels != label_files.UNLABELLED).sum())
        found = dataclasses.replace(
            found, problems=tuple(findings.problems), missing=tuple(findings.missing), labelled=labelled
        )
        return read_through(found, lambda: self.read(video, listed)) if thorough else found


def read_through(found: Inspection, read: Callable[[], schema.SourceVideo]) -> Inspection:
    """Adds the problems that only appear when a video is read completely, as in a build; nothing is kept.

    Args:
        found: results of a cheap inspection; if these would stop a build, nothing else is read.
        read: reads the video.
    """
    if found.problems:
        return found
    findings = Findings(notes=list(found.notes))
    with findings.caught():
        for record in schema.encode(read()):
            del record
    return dataclasses.replace(found, problems=tuple(findings.problems), missing=tuple(findings.missing))


def shortest(name: str, counts: Mapping[str, int | None]) -> tuple[int, str | None]:
    """Returns `agreed_length`, and a sentence instead of a log entry if the numbers differ."""
    known = {kind: count for kind, count in counts.items() if count is not None}
    lowest, highest = min(known.values()), max(known.values())
    said = ", ".join(f"{kind} {count}" for kind, count in known.items())
    if highest - lowest > label_files.TOLERANCE:
        raise InputError(
            f"{name}: the numbers of frames differ by more than {label_files.TOLERANCE} ({said}): complete the files, "
            "or correct the list"
        )
    return lowest, None if lowest == highest else f"the numbers of frames differ ({said}): the first {lowest} are used"


def agreed_length(name: str, counts: Mapping[str, int | None]) -> int:
    """Returns the number of frames on which a list and files agree: the smallest, if they differ by up to two.

    Args:
        name: the video, for the log and the message.
        counts: number stated by each source, by its name; None if unknown.

    Raises:
        InputError: they differ by more.
    """
    length, remark = shortest(name, counts)
    if remark:
        logging.warning("%s: %s", name, remark)
    return length


def with_labels(video: schema.SourceVideo, root: Path, dataset: str) -> schema.SourceVideo:
    """Returns the video with its labels from `av_gt_label/`, if there are any.

    Raises:
        InputError: its label file is malformed or does not fit.
    """
    labels = label_files.load(root, dataset, video.video_id, video.num_frames)
    return dataclasses.replace(video, avc_label=labels)
