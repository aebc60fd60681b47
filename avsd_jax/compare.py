"""Compares two evaluations frame by frame: python -m avsd_jax.compare A_DIR B_DIR [--out=DIR] [--common_frames]

`A_DIR` and `B_DIR` are folders that `python -m avsd_jax.evaluate` wrote, of two models on the same frames by the same
protocol. For every metric and group of frames: the mean difference A - B over the same frames, its 95 % interval by
bootstrap over videos, the p-value of an exact sign-flip test over videos, and how many videos favour which. Most
published gaps lie within such intervals. `--out` gets `compare.json` and `compare.md`.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avsd_jax import score_files, significance
from avsd_jax.cli import run as run_command
from avsd_jax.errors import InputError
from avsd_jax.evaluators.paired import paired_differences
from avsd_jax.evaluators.summary import Frames
from avsd_jax.score_files import GROUP_TITLES, Evaluation, arrow, bracketed, number, table
from avsd_jax.whole_files import write_json, write_text

_NAMES = {"a": "A", "b": "B"}


def compare(a: Evaluation, b: Evaluation, *, common_frames: bool = False) -> dict[str, Any]:
    """Paired differences of two evaluations, as plain values.

    Args:
        a, b: as `score_files.load` reads them.
        common_frames: restrict both to the frames that both scored; else they must have scored the same.

    Returns:
        `a` and `b` (their folders), `dataset`, `protocol`, `frames` (`common`, `only_a`, `only_b`), and for each
        average that the protocol reports ("video", "frame") what `paired.paired_differences` says.

    Raises:
        InputError: protocol, precision, dataset, ground truth or frames differ; the message names the difference.
    """
    _check_same(a, b)
    _check_ground_truth(a, b)
    rows_a, rows_b = ({key: i for i, key in enumerate(e.keys)} for e in (a, b))
    common = [key for key in a.keys if key in rows_b]
    only_a, only_b = len(rows_a) - len(common), len(rows_b) - len(common)
    if (only_a or only_b) and not common_frames:
        example = next(key for key in (*a.keys, *b.keys) if (key in rows_a) != (key in rows_b))
        raise InputError(
            f"the two scored different frames: {only_a} only in {a.folder}, {only_b} only in {b.folder} (such as "
            f"{'/'.join(map(str, example))}): --common_frames compares the {len(common)} that both have"
        )
    if not common:
        raise InputError(f"{a.folder} and {b.folder} have no frame in common: score the same videos")
    videos = sorted({video for _, video, _ in common})
    frames = [_select(e, [rows[key] for key in common], videos) for e, rows in ((a, rows_a), (b, rows_b))]
    differing = np.flatnonzero(frames[0].label != frames[1].label)
    if len(differing):
        raise InputError(
            f"the two have different labels, first at {'/'.join(map(str, common[differing[0]]))}: score both on one "
            "build of the dataset"
        )
    by_split = a.record["join"].startswith("mean")
    return {
        "a": str(a.folder),
        "b": str(b.folder),
        "dataset": a.record["dataset"],
        "protocol": a.record["protocol"],
        "frames": {"common": len(common), "only_a": only_a, "only_b": only_b},
        **{average: paired_differences(*frames, average, by_split) for average in a.record["protocol"]["averages"]},
    }


def _check_same(a: Evaluation, b: Evaluation) -> None:
    for part, mend in (("protocol", "--protocol"), ("dataset", "--dataset and --split")):
        ours, theirs = a.record[part], b.record[part]
        # Of two builds with the same ground truth the rest, such as the frames, decides no score.
        ignored = ("digest", "options") if part == "dataset" else ()
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            if key not in ignored and ours.get(key) != theirs.get(key):
                raise InputError(
                    f"{a.folder} and {b.folder} differ in {part} {key} ({ours.get(key)!r} and {theirs.get(key)!r}): "
                    f"score both with the same {mend}"
                )
    if a.record.get("precision") != b.record.get("precision"):
        raise InputError(
            f"{a.folder} and {b.folder} differ in precision ({a.record.get('precision')!r} and "
            f"{b.record.get('precision')!r}): score both with the same --precision"
        )


def _check_ground_truth(a: Evaluation, b: Evaluation) -> None:
    """Sees to it that the videos which both scored had the same density maps and fixations.

    Raises:
        InputError: they had not, or one of the evaluations does not say.
    """
    ours, theirs = (e.record.get("ground_truth") for e in (a, b))
    if (ours is None) != (theirs is None):
        older = a if ours is None else b
        raise InputError(
            f"{older.folder} does not say what ground truth it was scored against: run python -m avsd_jax.evaluate "
            "on it again"
        )
    if ours is None or theirs is None:
        return
    differing = [video for video, digest in ours["videos"].items() if theirs["videos"].get(video, digest) != digest]
    if differing:
        builds = [e.record["dataset"].get("digest", "?")[:12] for e in (a, b)]
        raise InputError(
            f"{a.folder} and {b.folder} differ in ground truth, of {len(differing)} videos, such as {differing[0]!r} "
            f"(builds {builds[0]} and {builds[1]} of {a.record['dataset']['name']}): score both on one build of the "
            "dataset"
        )


def _select(evaluation: Evaluation, rows: Sequence[int], videos: Sequence[str]) -> Frames:
    """The given rows, with videos numbered by their place in `videos`."""
    frames, place = evaluation.frames, {video: i for i, video in enumerate(videos)}
    splits = evaluation.record["dataset"]["splits"]
    keys = [evaluation.keys[row] for row in rows]
    return Frames(
        part=np.array([splits.index(split) for split, _, _ in keys], int),
        video=np.array([place[video] for _, video, _ in keys], int),
        frame=frames.frame[rows],
        label=frames.label[rows],
        scores={metric: values[rows] for metric, values in frames.scores.items()},
    )


def markdown(record: Mapping[str, Any]) -> str:
    """A comparison as Markdown."""
    titles = {"video": "mean over videos", "frame": "mean over frames"}
    dataset, frames = record["dataset"], record["frames"]
    left_out = f" ({frames['only_a']} only in A and {frames['only_b']} only in B left out)"
    sections = [
        f"# A against B: {dataset['name']} {', '.join(dataset['splits'])}, protocol `{record['protocol']['name']}`\n",
        f"- A: `{record['a']}`\n- B: `{record['b']}`\n- {frames['common']} frames"
        f"{left_out if frames['only_a'] or frames['only_b'] else ''}; each line says how many have the score in both "
        "and are compared\n",
    ]
    for average in (average for average in titles if average in record):
        sections.append(f"## Differences, {titles[average]}\n")
        for group, metrics in record[average]["groups"].items():
            title = GROUP_TITLES[group]
            if any(entry["frames"] for entry in metrics.values()):
                sections.append(f"### {title[0].upper()}{title[1:]}\n\n" + _differences(metrics))
    method = record[next(average for average in titles if average in record)]
    sections.append(
        f"In brackets: {100 * method['level']:.0f} % intervals, {method['method']} ({method['resamples']} draws, seed "
        f"{method['seed']}). p: {method['test']['method']}, corrected for the metrics of a table (Holm); a verdict is "
        f"given where it is at most {method['test']['level']}. Arrows point to better values."
        f"{score_files.few(method['groups']['all'][record['protocol']['metrics'][0]]['videos'].values())}\n"
    )
    return "\n".join(sections)


def _differences(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    entries = list(metrics.values())
    return table(
        {
            "": [arrow(metric) for metric in metrics],
            "A": [number(entry["a"]) for entry in entries],
            "B": [number(entry["b"]) for entry in entries],
            "A - B": [bracketed(entry["difference"], entry["interval"], "+") for entry in entries],
            "p": [p_value(entry["p_holm"]) for entry in entries],
            "better": [verdict(entry, len(entries)) for entry in entries],
            "videos for A : B": [f"{entry['videos']['a']} : {entry['videos']['b']}" for entry in entries],
            "frames": [str(entry["frames"]) for entry in entries],
        }
    )


def p_value(p: float | None) -> str:
    """A p-value in a cell."""
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def verdict(entry: Mapping[str, Any], metrics: int, names: Mapping[str, str] = _NAMES) -> str:
    """What a comparison says in a cell: the better one's name, or why there is none.

    Args:
        entry: of one metric, as `paired_differences` gives it.
        metrics: how many are tested together.
        names: of the two.
    """
    if entry["better"] is not None:
        return f"**{names[entry['better']]}**"
    videos = sum(entry["videos"].values())
    few = videos < 2 or metrics * significance.smallest_p(videos) > significance.LEVEL
    return "one video" if videos == 1 else f"{videos} videos: too few" if few else "within the noise"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m avsd_jax.compare", description="Compares two evaluations.")
    parser.add_argument("a", help="folder that python -m avsd_jax.evaluate wrote")
    parser.add_argument("b", help="another one, of the same frames")
    parser.add_argument("--out", help="folder for compare.json and compare.md (default: only print)")
    parser.add_argument("--common_frames", action="store_true", help="compare the frames that both scored")
    args = parser.parse_args(argv)
    return run_command(lambda: _compare_command_line(args))


def _compare_command_line(args: argparse.Namespace) -> None:
    a, b = (score_files.load(folder) for folder in (args.a, args.b))
    record = compare(a, b, common_frames=args.common_frames)
    if args.out:
        write_text(Path(args.out) / "compare.md", markdown(record))
        write_json(Path(args.out) / "compare.json", record)
    print(markdown(record).strip())


if __name__ == "__main__":
    sys.exit(main())
