"""Scores anybody's predictions: python -m avsd_jax.evaluate --predictions=DIR --dataset=NAME [--protocol=stavis]

`DIR` holds a folder of maps per video, of whichever model; `avsd_jax.prediction_folders` says which file names are
understood. Into `--out` go

    scores.json    the record: scores by group with confidence intervals, every choice of the protocol, what is missing
    scores.csv     every frame
    scores.md      a page to read; for the six audio-visual sets with the survey's published rows beside
    pages/         with --pages: index.html and a page per video, with frames, maps and scores over time
    videos/        a file per finished video: a run that was killed continues from there

Several models of one comparison by folds are given as `--predictions=DIR1,DIR2,DIR3 --split=test_1,test_2,test_3`.
Scores are computed on the CPU, videos in parallel.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jax
import numpy as np

from avsd_jax import (
    datasets,
    earlier_scores,
    extra_metrics,
    map_checks,
    prediction_folders,
    protocols,
    score_files,
    scoring_jobs,
    undefined_scores,
)
from avsd_jax.cli import run as run_command
from avsd_jax.data import set_names
from avsd_jax.data.dataset_digest import dataset_digest
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.evaluators.summary import Frames, summarise
from avsd_jax.map_files import colour
from avsd_jax.prediction_folders import PredictionFolder
from avsd_jax.protocols import Protocol
from avsd_jax.scoring_jobs import Job, code, digest
from avsd_jax.whole_files import make_folder

PRECISIONS = ("float64", "float32")
_LONGEST_NAME = 200  # file systems allow 255 bytes


@dataclass(frozen=True)
class Split:
    """A split with the predictions to score on it."""

    name: str
    store: VideoStore
    found: PredictionFolder


def evaluate(
    predictions: Sequence[str | Path],
    dataset: str,
    splits: Sequence[str] = ("test",),
    *,
    data_dir: str | Path = datasets.DEFAULT_DATA_DIR,
    protocol: Protocol | str = protocols.NATIVE,
    out: str | Path,
    workers: int = 1,
    precision: str = "float64",
    first_frame: int | None = None,
    metrics: str | Sequence[str] | None = None,
    pool: str | None = None,
    colour_maps: str = colour.REFUSE,
    other_forms: bool = False,
    undefined: str | None = None,
    pages: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Scores folders of predictions and writes the result.

    Args:
        predictions: a folder per split, or one for all.
        dataset: `name` or `name/config`, in any case, prepared in `data_dir`.
        splits: names of splits. Their videos are pooled, or their means averaged, as the protocol says.
        data_dir: folder of prepared datasets.
        protocol: how to score, or the name of one of `protocols.PROTOCOLS`.
        out: folder to write to; made if missing. Finished videos in it are not scored again, unless something that
            decides their scores has changed. Scores of something else in it are refused, not overwritten.
        workers: processes; 1 scores in this one.
        precision: "float64" or "float32".
        first_frame: 0 or 1, what the numbers of maps count from; None: read off them.
        colour_maps: "refuse", "luminance" or "colormap:NAME", what is done to maps in colour.
        other_forms: read `.npy`, `.mat`, videos and `.tif` as well.
        undefined: "omit", "worst" or "error", what becomes of frames without a score because of their map; None: the
            protocol's own rule.
        metrics: other metrics than the protocol's, see `extra_metrics.with_metrics`.
        pool: other negatives of the s-AUC than the protocol's, see `Protocol.pool`.
        pages: also write a page per video, see `video_pages`.
        progress: show a bar on stderr.

    Returns:
        What `scores.json` holds: `dataset` (with the build's digest and options), `ground_truth` (digests by video of
        what the predictions were scored against), `predictions` (folder, split, layout, encoding, ...), `protocol`,
        `precision`, `join`, `coverage` (frames scored, missing, unscored, beyond), `missing` (videos, frames by video),
        `undefined` (frames by metric that have no score because of their map), `maps` (how they were read, remarks),
        what `evaluators.summary.summarise` says, `versions` and `seconds`.

    Raises:
        InputError: data or predictions are missing, damaged or not to be told apart; nobody watched the videos; an
            argument is none of its choices; or `out` cannot be written to.
    """
    started = time.monotonic()
    dataset, out = _dataset_name(dataset), Path(out)
    protocol = protocols.get(protocol) if isinstance(protocol, str) else protocol
    protocol = extra_metrics.with_pool(extra_metrics.with_metrics(protocol, metrics), pool)
    protocol = undefined_scores.with_rule(protocol, undefined)
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    if workers < 1:
        raise InputError(f"workers={workers}: give 1 or more")
    earlier_scores.check_same(out, dataset, splits, predictions, protocol.name)
    earlier_scores.set_aside(out)
    reading = {"first_frame": first_frame, "colour_maps": colour_maps, "other_forms": other_forms}
    parts = _open(predictions, dataset, splits, data_dir, reading)
    source = _dataset_record(dataset, splits, data_dir)
    jobs = {
        (part.name, video): job
        for part in parts
        for video, job in _jobs(part, source, (dataset, part.name, str(data_dir)), protocol, precision, out)
    }
    make_folder(out)  # fails here, before the long work
    done = scoring_jobs.run(list(jobs.values()), workers, progress)
    results = {key: done[job.target] for key, job in jobs.items()}
    several = len(parts) > 1
    seen = {f"{split}/{video}" if several else video: result for (split, video), result in results.items()}
    maps = {video: result["maps"] for video, result in seen.items()}
    map_checks.check_upright(maps)
    lacking = undefined_scores.count(seen, protocol)
    rows = [row for part in parts for row in _rows(part, results, protocol)]
    record = {
        "dataset": {
            "name": dataset,
            "version": source["version"],
            "splits": list(splits),
            "digest": source["digest"],
            "options": source["settings"],
        },
        "ground_truth": _ground_truth(results, several=len(parts) > 1),
        "predictions": [_part_record(part, protocol) for part in parts],
        **_summary(rows, dataset, list(splits), protocol),
        "precision": precision,
        "coverage": _coverage(rows, results),
        "missing": _missing(rows, several),
        "undefined": lacking,
        "maps": {
            "colour_maps": colour_maps,
            "other_forms": "read" if other_forms else "refuse",
            "remarks": [remark for part in parts for remark in part.found.remarks] + map_checks.remarks(maps),
        },
        "versions": {name: metadata.version(name) for name in ("avsd-jax", "jax", "numpy")},
        "seconds": round(time.monotonic() - started, 3),
    }
    score_files.write(out, record, rows)
    if pages:
        from avsd_jax import video_pages  # draws, which scoring does not

        name = "+".join(dict.fromkeys(Path(folder).absolute().name for folder in predictions))
        model = video_pages.Model(name, score_files.load(out), {part.name: part.found for part in parts})
        video_pages.write(out, [model], {part.name: part.store for part in parts})
    earlier_scores.forget(out)
    return record


# ---------------------------------------------------------------------------------------------------------------------
# What is to be done
# ---------------------------------------------------------------------------------------------------------------------


def _dataset_name(dataset: str) -> str:
    """A dataset's own spelling, where only the case differs.

    Raises:
        InputError: several are named.
    """
    members = set_names.members(dataset)
    if len(members) > 1:
        raise InputError(
            f"{dataset!r} names {len(members)} datasets: score one a call, {', '.join(members[:-1])} or {members[-1]}, "
            "each with predictions of its own"
        )
    name, slash, config = members[0].partition("/")
    known = {each.lower(): each for each in datasets.names()}
    return known.get(name.lower(), name) + slash + config


def _open(
    predictions: Sequence[str | Path],
    dataset: str,
    splits: Sequence[str],
    data_dir: str | Path,
    reading: Mapping[str, Any],
) -> list[Split]:
    if len(set(splits)) < len(splits) or not splits:
        raise InputError(f"splits {', '.join(splits) or '(none)'}: give each once")
    if len(predictions) not in (1, len(splits)):
        raise InputError(
            f"{len(predictions)} folders of predictions for {len(splits)} splits: give one each, or one for all"
        )
    parts = []
    for folder, split in zip(list(predictions) * (len(splits) // len(predictions)), splits, strict=True):
        store = VideoStore.open(dataset, split, data_dir)
        store.check_watched("score on a set that somebody watched")
        lengths = {video.id: video.num_frames for video in store.videos}
        sizes = {video.id: (video.map_height, video.map_width) for video in store.videos}
        parts.append(Split(split, store, prediction_folders.find(folder, dataset, lengths, sizes=sizes, **reading)))
    return parts


def _dataset_record(dataset: str, splits: Sequence[str], data_dir: str | Path) -> dict[str, Any]:
    """What tells one build of a dataset from another."""
    builder = datasets.open_builder(dataset, data_dir)
    info = builder.info
    files = [Path(path) for split in splits for path in info.splits[split].filepaths]
    return {
        "name": dataset,
        "version": str(info.version),
        "settings": dict(info.metadata["settings"]),
        "digest": dataset_digest(str(builder.data_path)),
        "files": [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files],
    }


def _jobs(
    part: Split,
    source: Mapping[str, Any],
    arguments: tuple[str, str, str],
    protocol: Protocol,
    precision: str,
    out: Path,
) -> Iterator[tuple[str, Job]]:
    """A job per video that has predictions."""
    stamp = digest(source)
    for number, video in enumerate(part.store.videos):
        if video.id not in part.found.videos:
            continue
        maps = part.found.videos[video.id]
        # The protocol's fields that decide averages only are in it too: cheaper to score again than to reason.
        deciding = [code(), stamp, part.name, video.to_json(), protocol.as_record(), precision, maps.fingerprint()]
        target = out / "videos" / quote(part.name, safe="") / f"{quote(video.id, safe=' ')}.json"
        yield (
            video.id,
            Job(arguments, stamp, number, maps, protocol, precision, target, digest(deciding), video.num_frames),
        )


def _part_record(part: Split, protocol: Protocol) -> dict[str, Any]:
    found = part.found
    return {
        "folder": str(found.root),
        "split": part.name,
        "layout": found.layout,
        "encoding": protocol.encoding() if found.holds_arrays else "pictures as they are",
        "first_frame": found.first_frame,
        "unused": list(found.unused),
    }


# ---------------------------------------------------------------------------------------------------------------------
# What came of it
# ---------------------------------------------------------------------------------------------------------------------


def _rows(
    part: Split, results: Mapping[tuple[str, str], Mapping[str, Any]], protocol: Protocol
) -> Iterator[dict[str, Any]]:
    """A row per frame of a split; see `score_files.write`."""
    for number, video in enumerate(part.store.videos):
        result = results.get((part.name, video.id), {"frames": []})
        place = {frame: i for i, frame in enumerate(result["frames"])}
        penalties = undefined_scores.penalties(
            result.get("undefined", {}), video.map_height * video.map_width, protocol
        )
        for frame, label in enumerate(part.store.avc_label(number)):
            row = {"split": part.name, "video": video.id, "frame": frame, "label": int(label)}
            if frame in place:
                scores = {m: result["scores"][m][place[frame]] for m in protocol.metrics}
                yield row | {"status": "scored"} | scores | penalties.get(frame, {})
            elif frame < protocol.unscored_start:
                yield row | {"status": "unscored"}
            else:
                zero = dict.fromkeys(protocol.metrics, 0.0) if protocol.missing == "zero" else {}
                yield row | {"status": "missing"} | zero


def _summary(
    rows: Sequence[Mapping[str, Any]], dataset: str, splits: Sequence[str], protocol: Protocol
) -> dict[str, Any]:
    wanted = "missing" if protocol.missing == "zero" else "scored"
    counted = [row for row in rows if row["status"] == "scored" or row["status"] == wanted]
    if not any(row["status"] == "scored" for row in counted):
        raise InputError("no frame to score: the predictions hold none of the frames that the protocol scores")
    videos = sorted({row["video"] for row in rows})
    number = {video: i for i, video in enumerate(videos)}
    frames = Frames(
        part=np.array([splits.index(row["split"]) for row in counted], int),
        video=np.array([number[row["video"]] for row in counted], int),
        frame=np.array([row["frame"] for row in counted], int),
        label=np.array([row["label"] for row in counted], int),
        scores={m: np.array([row[m] for row in counted], float) for m in protocol.metrics},  # None becomes NaN
    )
    by_split = protocol.joins_by_mean(dataset)
    join = "mean of the splits' means" if by_split else "videos of all splits pooled"
    return {
        "protocol": protocol.as_record(),
        "join": join if len(splits) > 1 else "one split",
        **summarise(frames, videos, protocol, splits=splits, by_split=by_split),
    }


def _ground_truth(results: Mapping[tuple[str, str], Mapping[str, Any]], several: bool) -> dict[str, Any]:
    """Digests of what was scored against: of each video with predictions, and of all of them together."""
    videos = {f"{split}/{video}" if several else video: r["ground_truth"] for (split, video), r in results.items()}
    return {"digest": digest(videos), "videos": videos}


def _coverage(rows: Sequence[Mapping[str, Any]], results: Mapping[Any, Mapping[str, Any]]) -> dict[str, int]:
    counts = {status: sum(row["status"] == status for row in rows) for status in ("scored", "missing", "unscored")}
    return counts | {"beyond": sum(result["beyond"] for result in results.values())}


def _missing(rows: Sequence[Mapping[str, Any]], several: bool) -> dict[str, Any]:
    """Videos without any scored frame, and the missing frames of the others as ranges."""
    by_video: dict[str, dict[str, list[int]]] = {}
    for row in rows:
        name = f"{row['split']}/{row['video']}" if several else row["video"]
        by_video.setdefault(name, {}).setdefault(row["status"], []).append(row["frame"])
    lacking = {name: found for name, found in by_video.items() if "missing" in found}
    return {
        "videos": [name for name, found in lacking.items() if "scored" not in found],
        "frames": {
            name: map_checks.ranges(found["missing"], most=len(found["missing"]))
            for name, found in lacking.items()
            if "scored" in found
        },
    }


# ---------------------------------------------------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m avsd_jax.evaluate",
        description="Scores folders of predicted maps.",
        epilog=prediction_folders.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--predictions", required=True, metavar="DIR[,DIR...]", help="a folder per split, or one")
    parser.add_argument("--dataset", required=True, help="NAME or NAME/CONFIG, see python -m avsd_jax.datasets list")
    parser.add_argument("--split", default="test", metavar="NAME[,NAME...]", help="splits to score (default: test)")
    parser.add_argument("--data_dir", default=datasets.DEFAULT_DATA_DIR, help="folder of prepared datasets")
    parser.add_argument("--protocol", default="native", help=f"one of {', '.join(protocols.PROTOCOLS)}")
    parser.add_argument(
        "--metrics",
        metavar="NAME[,NAME...]",
        help=f"of {', '.join(protocols.ALL_METRICS)}; all; or +NAME,... to add (default: the protocol's)",
    )
    parser.add_argument("--pool", choices=protocols.POOLS, help="negatives of the s-AUC (default: the protocol's)")
    parser.add_argument("--out", help="folder to write to (default: beside the predictions, named after them)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    parser.add_argument("--precision", default="float64", choices=PRECISIONS, help="of the computation")
    parser.add_argument("--first_frame", type=int, choices=(0, 1), help="what numbers count from (default: read off)")
    parser.add_argument(
        "--colour_maps",
        default=colour.REFUSE,
        metavar="refuse|luminance|colormap:NAME",
        help="what to do with maps in colour, such as colormap:jet (default: refuse)",
    )
    parser.add_argument(
        "--other_forms", default="refuse", choices=("refuse", "read"), help=".npy, .mat, videos, .tif (default: refuse)"
    )
    parser.add_argument(
        "--undefined",
        choices=tuple(undefined_scores.RULES),
        help="frames without a score because of their map (default: the protocol's rule; it is omit in all)",
    )
    parser.add_argument("--pages", action="store_true", help="also write pages/index.html, a page per video")
    return parser


def default_out(predictions: Sequence[str], dataset: str, splits: Sequence[str], protocol: str) -> Path:
    """Where results go without `--out`: beside the (first) folder of predictions, named after all that was scored."""
    folders = [Path(folder).absolute() for folder in predictions]
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):  # as in fold1/maps,fold2/maps
        names = [f"{folder.parent.name}.{folder.name}" for folder in folders]
    parts = ["+".join(names), "scores", dataset.replace("/", "."), protocol, "+".join(map(quote, splits))]
    name = "-".join(parts)
    if len(name.encode()) > _LONGEST_NAME:
        name = f"{names[0][:60]}-scores-{digest(parts)[:16]}"
    return folders[0].with_name(name)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _evaluate_command_line(args))


def _shown(args: argparse.Namespace) -> str:
    """The protocol in a folder's name, with the options that give other scores."""
    options = {"pool": args.pool, "undefined": args.undefined}
    return "+".join([args.protocol, *(f"{name}={value}" for name, value in options.items() if value)])


def _evaluate_command_line(args: argparse.Namespace) -> None:
    predictions, splits = args.predictions.split(","), args.split.split(",")
    dataset = _dataset_name(args.dataset)
    out = Path(args.out) if args.out else default_out(predictions, dataset, splits, _shown(args))
    record = evaluate(
        predictions,
        dataset,
        splits,
        data_dir=args.data_dir,
        protocol=args.protocol,
        out=out,
        workers=args.workers,
        precision=args.precision,
        first_frame=args.first_frame,
        metrics=args.metrics,
        pool=args.pool,
        colour_maps=args.colour_maps,
        other_forms=args.other_forms == "read",
        undefined=args.undefined,
        pages=args.pages,
    )
    print(score_files.markdown(record).split("## How it was made")[0].strip())
    for name in record["missing"]["videos"]:
        print(f"no prediction: video {name}", file=sys.stderr)
    for name, ranges in record["missing"]["frames"].items():
        print(f"no prediction: {name}, frames {ranges} (counted from 0)", file=sys.stderr)
    for remark in record["maps"]["remarks"]:
        print(f"note: {remark}", file=sys.stderr)
    if counted := undefined_scores.in_words(record["undefined"]["metrics"]):
        fate = undefined_scores.FATES[record["undefined"]["rule"]]
        print(f"warning: frames without a score because of their map: {counted} ({fate})", file=sys.stderr)
    print(f"\nscores: {out / 'scores.md'}")
    if args.pages:
        print(f"pages: {out / 'pages' / 'index.html'}")


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")  # scoring must not take the memory of somebody's accelerator
    sys.exit(main())
