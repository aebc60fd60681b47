"""Converts, summarises and compares labels of audio-visual consistency (AVC).

  python -m avsd_jax.avc_labels convert --dataset=diem --manual_dir=ROOT --source=FOLDER --kind=segments
  python -m avsd_jax.avc_labels summary --manual_dir=ROOT
  python -m avsd_jax.avc_labels agreement A.csv B.csv

`convert` reads one file per video, named after it, and writes `ROOT/av_gt_label/<SET>/<video>.csv`, which datasets are
built from. The kinds are those of `avsd_jax.sources.label_formats`: lines, frames, array, seconds, segments, and
consistency, the table that `python -m avsd_jax.avc` writes, also in its own folder, if that is named after the video.
Numbers of frames and rates come from the fold lists in ROOT, or from a file `--clock` with the header
`video,frames,fps`.

`summary` counts these files; of a folder of the dataset `own`, or with --dataset=own, those in `ROOT/labels`.

`agreement` compares the label files of one video by two annotators or more, pair by pair: Cohen's kappa by frame, and
by segment of `--segment` frames, whose label is that of most of its frames. Frames without a label of both are left
out, and counted. Journals of the Label page (`.jsonl`) are read, too: they tell unsure from unlabelled.
"""

import argparse
import csv
import difflib
import io
import itertools
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int8

from avsd_jax.common import cli, logs, safe_paths
from avsd_jax.data import dataset_names
from avsd_jax.errors import InputError
from avsd_jax.labelling import agreement, exporting
from avsd_jax.labelling.track import runs_of
from avsd_jax.sources import fold_lists, label_files, label_formats, own_folder
from avsd_jax.sources.fold_lists import ListedVideo

_OWN = "own"
_CLOCK_COLUMNS = ["video", "frames", "fps"]


@dataclass(frozen=True)
class Converted:
    """Result of a conversion.

    Attributes:
        folder: of the converted labels.
        written: videos whose file was written.
        unchanged: videos whose file already had the same labels.
        ignored: names of files of another kind in the source folder.
    """

    folder: Path
    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """Statistics of the label files of one dataset, or of several together.

    Attributes:
        videos: number of videos with a readable file.
        frames: labelled frames.
        consistent: frames labelled 1.
        runs: lengths in frames of all runs of equal labels, video after video; frames without a label end one.
        seconds: duration of the labelled frames; NaN if a rate is unknown.
        problems: one sentence per malformed file, and about listed videos without labels.
    """

    videos: int
    frames: int
    consistent: int
    runs: tuple[int, ...]
    seconds: float
    problems: tuple[str, ...]

    @property
    def transitions(self) -> int:
        """Returns the number of label changes within videos, those across frames without a label included."""
        return len(self.runs) - self.videos


# ---------------------------------------------------------------------------------------------------------------------
# convert
# ---------------------------------------------------------------------------------------------------------------------


def convert(
    manual_dir: str | Path,
    dataset: str,
    source: str | Path,
    kind: str,
    *,
    first_frame: int | None = None,
    key: str | None = None,
    clock: str | Path | None = None,
    overwrite: bool = False,
) -> Converted:
    """Converts all label files of a folder; writes nothing unless all of them are valid.

    Args:
        manual_dir: root of the user's tree, which gets the labels.
        dataset: its key, such as "diem".
        source: the folder of the labels, one file per video; files of other suffixes are ignored.
        kind: one of `label_formats.KINDS`.
        first_frame: for kind "frames", and only there: the number of the first frame, 0 or 1.
        key: for kind "array": the variable of .mat files that have several.
        clock: a CSV file `video,frames,fps`, which takes precedence over the fold lists.
        overwrite: replace label files that differ.

    Raises:
        InputError: an argument, a list or a file is wrong; a file names no video of the dataset; labels differ from the
            length of their video by more than two frames; or different labels exist already and `overwrite` is not set.
    """
    _check_arguments(kind, first_frame, key)
    names, ignored = _sources(Path(source), dataset, kind)
    clocks = _clocks(manual_dir, dataset, clock)
    labels = {}
    for video, path in names.items():
        frames, fps = _length(clocks, dataset, video, path, kind)
        options = {"first_frame": 1 if first_frame is None else first_frame, "key": key}
        read = label_formats.read(path, kind, num_frames=frames, fps=fps, **options)
        labels[video] = read if frames is None else label_files.fit(read, frames, str(path))
    folder, targets = _targets(Path(manual_dir), dataset, names, create=labels)
    changed = [video for video in labels if not _holds(targets[video], labels[video])]
    there = [video for video in changed if targets[video].exists()]
    if there and not overwrite:
        raise InputError(f"{targets[there[0]]} holds other labels ({len(there)} such files): --overwrite replaces them")
    for video in changed:
        label_files.write(targets[video], labels[video])
    return Converted(folder, tuple(changed), tuple(video for video in labels if video not in changed), tuple(ignored))


def _check_arguments(kind: str, first_frame: int | None, key: str | None) -> None:
    if kind not in label_formats.KINDS:
        raise InputError(f"unknown kind {kind!r}: choose one of {', '.join(label_formats.KINDS)}")
    if kind == "frames" and first_frame not in (0, 1):
        raise InputError(
            "--kind=frames needs --first_frame=0 or --first_frame=1: the number of the first frame in the files"
        )
    if kind != "frames" and first_frame is not None:
        raise InputError(f"--first_frame is for --kind=frames, not {kind}: leave it out")
    if kind != "array" and key is not None:
        raise InputError(f"--key is for --kind=array, not {kind}: leave it out")


def _sources(folder: Path, dataset: str, kind: str) -> tuple[dict[str, Path], list[str]]:
    """Finds the file of each video, and names of files of another kind."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the folder of the labels, one file per video")
    videos: dict[str, Path] = {}
    ignored, found = [], []
    for name in safe_paths.file_names(folder):
        if Path(name).suffix.lower() in label_formats.SUFFIXES[kind]:
            found.append((Path(name).stem, safe_paths.below(folder, name)))
        else:
            ignored.append(name)
    if kind == "consistency":
        for name in safe_paths.folder_names(folder):
            path = safe_paths.below(folder, name, label_formats.CONSISTENCY_FILE)
            if path.is_file():
                found.append((name, path))
    for name, path in found:
        video = dataset_names.video_id(dataset, name)
        if video in videos:
            raise InputError(f"{videos[video]} and {path} are of the same video: keep one of them")
        videos[video] = path
    if not videos:
        wanted = " or ".join(label_formats.SUFFIXES[kind])
        raise InputError(f"{folder} has no {wanted} file: --kind={kind} reads these, one per video")
    return videos, ignored


def _clocks(manual_dir: str | Path, dataset: str, clock: str | Path | None) -> dict[str, ListedVideo]:
    """Returns lengths and rates of the videos, as far as they are known."""
    dataset_names.named(dataset)
    if not Path(manual_dir).is_dir():
        raise InputError(f"{manual_dir} is not a folder: give the root of the data's tree as --manual_dir")
    listed = dict(fold_lists.read(manual_dir, dataset).videos) if fold_lists.present(manual_dir) else {}
    return listed if clock is None else listed | _read_clock(Path(clock), dataset)


def _read_clock(path: Path, dataset: str) -> dict[str, ListedVideo]:
    rows = csv.reader(io.StringIO(safe_paths.read_text(path)))
    if next(rows, None) != _CLOCK_COLUMNS:
        raise InputError(f"{path} does not begin with {','.join(_CLOCK_COLUMNS)}: write this header")
    clocks = {}
    for row in filter(None, rows):
        try:
            name, frames, fps = row[0], int(row[1]), float(row[2])
        except (ValueError, IndexError):
            name, frames, fps = "", 0, math.nan
        if not (name and frames > 0 and 0 < fps < math.inf and len(row) == len(_CLOCK_COLUMNS)):
            raise InputError(f"{path}, line {rows.line_num}: {','.join(row)!r} is not a video, frames and rate: fix it")
        video = dataset_names.video_id(dataset, name)
        if video in clocks:
            raise InputError(f"{path}, line {rows.line_num}: {name} was there before: keep one of the lines")
        clocks[video] = ListedVideo(video, frames, fps)
    return clocks


def _length(
    clocks: Mapping[str, ListedVideo], dataset: str, video: str, path: Path, kind: str
) -> tuple[int | None, float | None]:
    """Returns number of frames and rate of a video; None if they are unknown and not needed."""
    listed = clocks.get(video)
    unlisted = dataset == "diem" and video in fold_lists.DIEM_UNLISTED
    if clocks and listed is None and not unlisted:
        close = difflib.get_close_matches(video, clocks, n=3)
        hint = f" such as {', '.join(close)}" if close else ""
        raise InputError(f"{path} is named after no video of {dataset}: name it after one{hint}")
    frames, fps = (listed.num_frames, listed.fps) if listed else (None, None)
    if kind in label_formats.TIMED and frames is None:
        raise InputError(
            f"{path}: the number of frames and the rate of {video} are not known: put STAViS's fold lists into "
            f"fold_lists/, or give --clock=FILE with lines {','.join(_CLOCK_COLUMNS)}"
        )
    return frames, fps


def _targets(
    root: Path, dataset: str, sources: Mapping[str, Path], create: Iterable[str]
) -> tuple[Path, dict[str, Path]]:
    """Returns the folder and the file for each video's labels: the existing one, or a new one."""
    folder = label_files.folder(root, dataset) or safe_paths.below(
        root, label_files.FOLDER, dataset_names.SETS[dataset].title
    )
    there = label_files.files(root, dataset)
    targets = {video: there.get(video) or safe_paths.below(folder, f"{video}.csv") for video in create}
    written = {path.resolve() for path in targets.values()}
    for path in sources.values():
        if path.resolve() in written:
            raise InputError(f"{path} would be replaced by its own conversion: move the source files elsewhere")
    return folder, targets


def _holds(path: Path, labels: Int8[np.ndarray, " n"]) -> bool:
    """Returns whether a file already has these labels."""
    try:
        return path.exists() and np.array_equal(label_files.read(path), labels)
    except InputError:
        return False


# ---------------------------------------------------------------------------------------------------------------------
# summary
# ---------------------------------------------------------------------------------------------------------------------


def summarize(manual_dir: str | Path, dataset: str) -> Summary:
    """Summarises a dataset's label files, checked against the fold lists if these exist.

    Args:
        manual_dir: root of the data's tree.
        dataset: one of the six, or "own", whose labels lie in `labels/`.

    Raises:
        InputError: no such dataset, or the folders or lists are wrong. A malformed label file is a problem in the
            summary.
    """
    if dataset == _OWN:
        files, listed = own_folder.existing_labels(Path(manual_dir)), {}
    else:
        files = label_files.files(manual_dir, dataset)
        listed = _clocks(manual_dir, dataset, None) if files else {}
    runs: list[int] = []
    problems = []
    videos = consistent = 0
    seconds = 0.0
    for video, path in files.items():
        try:
            labels = label_files.read(path)
            if video in listed and listed[video].num_frames is not None:
                labels = label_files.fit(labels, listed[video].num_frames, str(path))
        except InputError as error:
            problems.append(str(error))
            continue
        labelled = [run.stop - run.start for run in runs_of(labels) if run.label != label_files.UNLABELLED]
        runs.extend(labelled)
        videos += 1
        consistent += int(np.count_nonzero(labels == 1))
        seconds += sum(labelled) / listed[video].fps if video in listed else math.nan
    missing = sorted(set(listed) - set(files))
    if missing:
        problems.append(f"{dataset}: {len(missing)} listed videos have no labels: {', '.join(missing)}")
    unknown = sorted(set(files) - set(listed) - set(fold_lists.DIEM_UNLISTED)) if listed else []
    if unknown:
        problems.append(f"{dataset}: labels of videos that no list names: {', '.join(unknown)}")
    return Summary(videos, sum(runs), consistent, tuple(runs), seconds, tuple(problems))


def _together(summaries: Sequence[Summary]) -> Summary:
    return Summary(
        sum(s.videos for s in summaries),
        sum(s.frames for s in summaries),
        sum(s.consistent for s in summaries),
        tuple(run for s in summaries for run in s.runs),
        sum(s.seconds for s in summaries),
        tuple(problem for s in summaries for problem in s.problems),
    )


_HEADINGS = ("set", "videos", "frames", "consistent", "transitions", "label length: median", "mean")


def _row(name: str, summary: Summary) -> tuple[str, ...]:
    known = not math.isnan(summary.seconds)
    mean = f"{np.mean(summary.runs):.1f} frames" + (f" = {summary.seconds / len(summary.runs):.2f} s" if known else "")
    return (
        name,
        str(summary.videos),
        str(summary.frames),
        f"{summary.consistent / summary.frames:.1%}",
        str(summary.transitions),
        f"{np.median(summary.runs):g} frames",
        mean,
    )


# ---------------------------------------------------------------------------------------------------------------------
# agreement
# ---------------------------------------------------------------------------------------------------------------------


def agreement_lines(paths: Sequence[str], segment: int) -> list[str]:
    """Returns the agreement of each pair of files, as lines to be printed.

    Args:
        paths: label files or journals of one video.
        segment: frames per segment.

    Raises:
        InputError: fewer than two files, one that cannot be read, or files of different lengths.
    """
    if len(paths) < 2:
        raise InputError("agreement is between annotators: give two files or more, of one video")
    labels = {path: exporting.read(path) for path in paths}
    lines = []
    for first, second in itertools.combinations(paths, 2):
        if len(labels[first]) != len(labels[second]):
            raise InputError(
                f"{first} labels {len(labels[first])} frames and {second} {len(labels[second])}: give labels of one "
                "video"
            )
        found = agreement.compare(labels[first], labels[second], np.arange(len(labels[first])) // segment)
        lines += [f"{first} and {second}: {len(labels[first])} frames", *_lines_of(found, segment)]
    return lines


def _lines_of(found: agreement.Comparison, segment: int) -> list[str]:
    rows = [("frames", found.frames), (f"segments of {segment}", found.segments)]
    if found.frames_unsure is not None:
        rows.append(("frames, unsure a label", found.frames_unsure))
        rows.append((f"segments of {segment}, unsure a label", found.segments_unsure))
    lines = [f"  {name:<32} {_in_words(each)}" for name, each in rows]
    for what, counts in (("unsure", found.unsure), ("without a label", found.unlabelled)):
        if any(counts):
            lines.append(f"  {what}: {counts[0]} frames of the first, {counts[1]} of the second")
    return lines


def _in_words(found: agreement.Agreement) -> str:
    if found.observed is None:
        return f"0 compared: {found.undefined}"
    kappa = f"undefined: {found.undefined}" if found.kappa is None else f"{found.kappa:.3f}"
    return f"{found.units} compared, {found.observed:.1%} the same, kappa {kappa}"


# ---------------------------------------------------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------------------------------------------------


def _convert_command_line(args: argparse.Namespace) -> int:
    options = {name: getattr(args, name) for name in ("first_frame", "key", "clock", "overwrite")}
    done = convert(args.manual_dir, args.dataset, args.source, args.kind, **options)
    print(f"{len(done.written)} files written to {done.folder}, {len(done.unchanged)} had the same labels already")
    if done.ignored:
        print(f"{len(done.ignored)} files of another kind ignored: {', '.join(done.ignored)}")
    return 0


def _summary_command_line(args: argparse.Namespace) -> int:
    keys = [args.dataset] if args.dataset else [*dataset_names.SETS]
    if not args.dataset and (Path(args.manual_dir) / own_folder.VIDEOS).is_dir():  # else `labels` may be any folder
        keys.append(_OWN)
    summaries = {key: summarize(args.manual_dir, key) for key in keys}
    rows = [_row(key, summary) for key, summary in summaries.items() if summary.videos]
    total = _together(list(summaries.values()))
    if not rows and not total.problems:
        raise InputError(
            f"{args.manual_dir} has no labels in {label_files.FOLDER}/<SET>/, nor in {own_folder.LABELS}/ "
            f"with {own_folder.VIDEOS}/: label on the page of python -m avsd_jax.web, or make them with "
            f"{label_files.CONVERT}"
        )
    if len(rows) > 1:
        rows.append(_row("together", total))
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    for row in (_HEADINGS, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for problem in total.problems:
        print(f"problem: {problem}", file=sys.stderr)
    return 1 if total.problems else 0


def _agreement_command_line(args: argparse.Namespace) -> int:
    print("\n".join(agreement_lines(args.files, args.segment)))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status: 0, 1 if a summary found problems, 2 on bad input."""
    parser = cli.Parser("python -m avsd_jax.avc_labels", __doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    converting = commands.add_parser("convert", help="convert labels to the documented format")
    converting.add_argument("--dataset", required=True, help=f"one of {', '.join(dataset_names.SETS)}")
    converting.add_argument("--source", required=True, help="folder of the labels, one file per video, named after it")
    converting.add_argument("--kind", required=True, help=f"one of {', '.join(label_formats.KINDS)}")
    converting.add_argument("--first_frame", type=int, help="number of the first frame, 0 or 1 (kind frames)")
    converting.add_argument("--key", help="variable of .mat files that have several (kind array)")
    converting.add_argument("--clock", help="CSV file video,frames,fps, if there are no fold lists")
    converting.add_argument("--overwrite", action="store_true", help="replace label files that differ")
    converting.set_defaults(run=_convert_command_line)
    summing = commands.add_parser(
        "summary", help="share of consistent frames, transitions and length of labels per dataset"
    )
    summing.add_argument("--dataset", help="only this dataset")
    summing.set_defaults(run=_summary_command_line)
    comparing = commands.add_parser("agreement", help="Cohen's kappa of annotators of one video")
    comparing.add_argument("files", nargs="+", metavar="FILE", help="label files of one video, one per annotator")
    comparing.add_argument(
        "--segment", type=cli.positive, default=25, help="frames per segment, about a second (default: 25)"
    )
    comparing.set_defaults(run=_agreement_command_line)
    for command in (converting, summing):
        command.add_argument("--manual_dir", required=True, help="root of the data's tree")
    return cli.run(lambda: _run_command_line(parser.parse_args(argv)))


def _run_command_line(args: argparse.Namespace) -> int:
    with logs.shown():
        return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
