"""Compares evaluations frame by frame: python -m avsd_jax.compare A_DIR B_DIR [C_DIR ...] [--out=DIR] [--common_frames]

`A_DIR` and `B_DIR` are folders of `python -m avsd_jax.evaluate`, of two models on the same frames by the same
protocol. For every metric and group of frames, the mean difference A - B over the same frames is printed, with its 95 %
interval by bootstrap over videos, the p-value of an exact sign-flip test over videos, and how many videos favour which.
Most published differences are within such intervals. `--out` gets `compare.json` and `compare.md`. Three or more models
give one table with a test of every pair; see `compare_many`. `--pages` adds a page per video; see `video_pages`.
Folders of several datasets are compared dataset by dataset, and `--out` gets a folder for each.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avsd_jax.common import cli
from avsd_jax.common.atomic_files import write_json, write_text
from avsd_jax.errors import InputError
from avsd_jax.evaluation import compare_many, same_frames, score_files
from avsd_jax.evaluation.score_files import Evaluation
from avsd_jax.scoring import significance
from avsd_jax.scoring.markdown import AVERAGE_TITLES, GROUP_TITLES, arrow, bracketed, number, p_value, table
from avsd_jax.scoring.paired import paired_differences

_NAMES = {"a": "A", "b": "B"}


def compare(a: Evaluation, b: Evaluation, *, common_frames: bool = False) -> dict[str, Any]:
    """Computes the paired differences of two evaluations, as plain values.

    Args:
        a, b: as `score_files.load` reads them.
        common_frames: restrict both to the frames that both scored; otherwise they must have scored the same.

    Returns:
        `a` and `b` (their folders), `dataset`, `protocol`, `frames` (`common`, `only_a`, `only_b`), and for each
        average that the protocol reports ("video", "frame") the result of `paired.paired_differences`.

    Raises:
        InputError: protocol, precision, dataset, ground truth or frames differ; the message names the difference.
    """
    frames, common, (only_a, only_b) = same_frames.align([a, b], common_frames)
    by_split = a.record["join"].startswith("mean")
    return {
        "a": str(a.folder),
        "b": str(b.folder),
        "dataset": a.record["dataset"],
        "protocol": a.record["protocol"],
        "frames": {"common": common, "only_a": only_a, "only_b": only_b},
        **{average: paired_differences(*frames, average, by_split) for average in a.record["protocol"]["averages"]},
    }


def markdown(record: Mapping[str, Any]) -> str:
    """Formats a comparison as Markdown."""
    dataset, frames = record["dataset"], record["frames"]
    left_out = f" ({frames['only_a']} only in A and {frames['only_b']} only in B left out)"
    sections = [
        f"# A against B: {dataset['name']} {', '.join(dataset['splits'])}, protocol `{record['protocol']['name']}`\n",
        f"- A: `{record['a']}`\n- B: `{record['b']}`\n- {frames['common']} frames"
        f"{left_out if frames['only_a'] or frames['only_b'] else ''}; each line says how many have the score in both "
        "and are compared\n",
    ]
    for average in (average for average in AVERAGE_TITLES if average in record):
        sections.append(f"## Differences, {AVERAGE_TITLES[average]}\n")
        for group, metrics in record[average]["groups"].items():
            if any(entry["frames"] for entry in metrics.values()):
                sections.append(f"### {GROUP_TITLES[group]}\n\n" + _differences(metrics))
    method = record[next(average for average in AVERAGE_TITLES if average in record)]
    sections.append(
        f"In brackets: {100 * method['level']:.0f} % intervals, {method['method']} ({method['resamples']} draws, seed "
        f"{method['seed']}). p: {method['test']['method']}, corrected for the metrics of a table (Holm); a difference "
        f"is significant if it is at most {method['test']['level']}. Arrows point to better values."
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


def verdict(entry: Mapping[str, Any], metrics: int, names: Mapping[str, str] = _NAMES) -> str:
    """Returns the verdict of a comparison: the better one's name, or why there is none.

    Args:
        entry: of one metric, as `paired_differences` returns it.
        metrics: number of metrics that are tested together.
        names: of the two.
    """
    if entry["better"] is not None:
        return f"**{names[entry['better']]}**"
    videos = sum(entry["videos"].values())
    few = videos < 2 or metrics * significance.smallest_p(videos) > significance.LEVEL
    return "one video" if videos == 1 else f"{videos} videos: too few" if few else "not significant"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    parser = cli.Parser("python -m avsd_jax.compare", __doc__)
    parser.add_argument("a", help="folder of python -m avsd_jax.evaluate")
    parser.add_argument("b", help="another one, of the same frames")
    parser.add_argument("more", nargs="*", help="further ones: all are compared in one table, and every pair is tested")
    parser.add_argument("--names", help="of the models, separated by commas (default: their folders' names)")
    parser.add_argument("--out", help="folder for compare.json, .md; of several also .csv, .tex (default: print)")
    parser.add_argument("--common_frames", action="store_true", help="compare the frames that all scored")
    parser.add_argument("--pages", action="store_true", help="also write OUT/pages/index.html, a page per video")
    parser.add_argument("--data_dir", default="data", help="folder of built datasets, for --pages (default: data)")
    return cli.run(lambda: _compare_command_line(parser.parse_args(argv)))


def _compare_command_line(args: argparse.Namespace) -> None:
    if args.pages and not args.out:
        raise InputError("--pages writes files: give --out")
    names = _names(args) if args.more or args.names or args.pages else []
    out = Path(args.out) if args.out else None
    folders = [Path(folder) for folder in (args.a, args.b, *args.more)]
    parts = _same_datasets(folders)
    loaded = {part: [score_files.load(folder / part) for folder in folders] for part in parts or ("",)}
    for i, (part, evaluations) in enumerate(loaded.items()):
        print("\n" * bool(i), end="")
        place = out / part if out else None
        _write_tables(args, evaluations, names, place)
        if args.pages:
            from avsd_jax.evaluation.pages import video_pages  # imports TFDS, which takes a while

            print(f"\npages: {video_pages.of_evaluations(place, evaluations, names, args.data_dir)}")


def _same_datasets(folders: Sequence[Path]) -> list[str]:
    """Returns the datasets that are compared one by one, as folders; none if each folder holds one dataset.

    Raises:
        InputError: the folders do not hold the same datasets.
    """
    held = [score_files.datasets_in(folder) for folder in folders]
    for folder, other in zip(folders, held, strict=True):
        if sorted(other) != sorted(held[0]):
            these, those = (", ".join(names) or "one dataset" for names in (held[0], other))
            raise InputError(
                f"{folders[0]} and {folder} hold different datasets ({these}; {those}): compare the folders of one, "
                "such as A/diem B/diem"
            )
    return held[0]


def _write_tables(
    args: argparse.Namespace, evaluations: Sequence[Evaluation], names: Sequence[str], out: Path | None
) -> None:
    if args.more or args.names:
        several = compare_many.compare_many(evaluations, names, common_frames=args.common_frames)
        if out:
            compare_many.write(out, several)
        print(compare_many.markdown(several).strip())
        return
    record = compare(*evaluations, common_frames=args.common_frames)
    if out:
        write_text(out / "compare.md", markdown(record))
        write_json(out / "compare.json", record)
    print(markdown(record).strip())


def _names(args: argparse.Namespace) -> list[str]:
    """Returns a different name for each model."""
    folders = [Path(folder).absolute() for folder in (args.a, args.b, *args.more)]
    if args.names:
        names = args.names.split(",")
    else:
        names = [folder.name for folder in folders]
        if len(set(names)) < len(names):
            names = [f"{folder.parent.name}/{folder.name}" for folder in folders]
    if len(names) != len(folders) or len(set(names)) < len(names) or not all(names):
        raise InputError(f"names {', '.join(names)} for {len(folders)} folders: give --names, each one once")
    return names


if __name__ == "__main__":
    sys.exit(main())
