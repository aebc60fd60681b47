"""Scores third-party predictions: python -m avsd_jax.evaluate --predictions=DIR --dataset=NAME [--protocol=stavis]

`DIR` holds a folder of maps per video, of any model; `avsd_jax.evaluation.prediction_folders` describes the supported
file names. `--out` gets

    scores.json    the record: scores by group with confidence intervals, every choice of the protocol, what is missing
    scores.csv     every frame
    scores.md      a report; for the six audio-visual datasets with the survey's published rows
    pages/         with --pages: index.html and a page per video, with frames, maps and scores over time
    videos/        a file per finished video, from which a killed run resumes

`--dataset=six`, or names joined by commas, scores several datasets: each into a folder of its own in `--out`, with
the mean over them beside. `avsd_jax.evaluation.several_inputs` describes where their predictions are looked for.

Models trained per fold are given as `--predictions=DIR1,DIR2,DIR3 --split=test_1,test_2,test_3`.
Scores are computed on the CPU, videos in parallel.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jax

from avsd_jax.common import beam, cli, logs
from avsd_jax.common.programs import keep_programs
from avsd_jax.data import catalog, dataset_names
from avsd_jax.errors import InputError
from avsd_jax.evaluation import (
    evaluation_inputs,
    ground_truth_folder,
    prediction_folders,
    score_files,
    several,
    several_inputs,
    undefined_scores,
)
from avsd_jax.evaluation.evaluation import PRECISIONS, evaluate
from avsd_jax.evaluation.scoring_jobs import digest
from avsd_jax.map_files import colour
from avsd_jax.scoring import protocols

_LONGEST_NAME = 200  # file systems allow 255 bytes


def _parser() -> cli.Parser:
    parser = cli.Parser(
        "python -m avsd_jax.evaluate", __doc__, epilog=f"{prediction_folders.__doc__}\n{several_inputs.__doc__}"
    )
    parser.add_argument("--predictions", required=True, metavar="DIR[,DIR...]", help="a folder per split, or one")
    parser.add_argument(
        "--dataset", metavar="NAME[,NAME...]", help="NAME or NAME/CONFIG, see python -m avsd_jax.datasets list; or six"
    )
    parser.add_argument(
        "--skip_missing", action="store_true", help="of several datasets, score those that are built and predicted"
    )
    parser.add_argument(
        "--ground_truth", metavar="FOLDER", help="folder of density maps and fixations, instead of --dataset"
    )
    parser.add_argument(
        ground_truth_folder.FLAG, type=int, choices=(0, 1), help="number of its first frame (default: inferred)"
    )
    parser.add_argument(
        "--split", metavar="NAME[,NAME...]", help="splits to score (default: test; of several datasets, their folds)"
    )
    parser.add_argument("--data_dir", default=catalog.DEFAULT_DATA_DIR, help="folder of built datasets")
    parser.add_argument("--protocol", default="native", help=f"one of {', '.join(protocols.PROTOCOLS)}")
    parser.add_argument(
        "--metrics",
        metavar="NAME[,NAME...]",
        help=f"of {', '.join(protocols.ALL_METRICS)}; all; or +NAME,... to add (default: the protocol's)",
    )
    parser.add_argument("--pool", choices=protocols.POOLS, help="negatives of the s-AUC (default: the protocol's)")
    parser.add_argument("--out", help="folder to write to (default: beside the predictions, named after them)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    parser.add_argument(
        "--beam_pipeline_options", help="flags for Apache Beam, which scores the videos instead: runner=...,..."
    )
    parser.add_argument("--precision", default="float64", choices=PRECISIONS, help="of the computation")
    parser.add_argument("--first_frame", type=int, choices=(0, 1), help="number of the first frame (default: inferred)")
    parser.add_argument(
        "--colour_maps",
        default=colour.REFUSE,
        metavar="refuse|luminance|colormap:NAME",
        help="how to read maps in colour, such as colormap:jet (default: refuse)",
    )
    parser.add_argument(
        "--other_forms", default="refuse", choices=("refuse", "read"), help=".npy, .mat, videos, .tif (default: refuse)"
    )
    parser.add_argument(
        "--undefined",
        choices=tuple(undefined_scores.RULES),
        help="frames without a score because of their map (default: the protocol's rule; it is omit in all)",
    )
    parser.add_argument(
        "--bounds", action="store_true", help="also score chance, the centre and one human against the others"
    )
    parser.add_argument("--pages", action="store_true", help="also write pages/index.html, a page per video")
    return parser


def default_out(predictions: Sequence[str], dataset: str, splits: Sequence[str], protocol: str) -> Path:
    """Returns the default of `--out`: beside the (first) folder of predictions, named after all that is scored."""
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
    """Runs a command line; returns the exit status."""
    return cli.run(lambda: _evaluate_command_line(_parser().parse_args(argv)))


def _shown(args: argparse.Namespace) -> str:
    """Returns the protocol in a folder's name, with the options that change scores."""
    options = {"pool": args.pool, "undefined": args.undefined}
    return "+".join([args.protocol, *(f"{name}={value}" for name, value in options.items() if value)])


@logs.shown()
def _evaluate_command_line(args: argparse.Namespace) -> None:
    keep_programs()
    predictions = args.predictions.split(",")
    choices = {
        "data_dir": args.data_dir,
        "protocol": args.protocol,
        "workers": args.workers,
        "precision": args.precision,
        "first_frame": args.first_frame,
        "metrics": args.metrics,
        "pool": args.pool,
        "colour_maps": args.colour_maps,
        "other_forms": args.other_forms == "read",
        "undefined": args.undefined,
        "with_bounds": args.bounds,
        "pages": args.pages,
        "beam_options": beam.flags(args.beam_pipeline_options),
    }
    if args.dataset is not None and len(dataset_names.members(args.dataset)) > 1:
        _evaluate_several(args, predictions, choices)
        return
    if args.skip_missing:
        raise InputError("--skip_missing belongs to several datasets: leave it out")
    splits = (args.split or "test").split(",")
    given = evaluation_inputs.sources(
        args.dataset, splits, args.data_dir, args.ground_truth, args.ground_truth_first_frame
    )
    names = [source.split for source in given]
    out = Path(args.out) if args.out else default_out(predictions, given[0].dataset, names, _shown(args))
    record = evaluate(
        predictions,
        args.dataset,
        splits,
        ground_truth=args.ground_truth,
        ground_truth_first_frame=args.ground_truth_first_frame,
        out=out,
        **choices,
    )
    print(score_files.markdown(record).split("## How it was made")[0].strip())
    _tell(record)
    print(f"\nscores: {out / 'scores.md'}")
    if args.pages:
        print(f"pages: {out / 'pages' / 'index.html'}")


def _evaluate_several(args: argparse.Namespace, predictions: list[str], choices: Mapping[str, Any]) -> None:
    if args.ground_truth is not None or args.ground_truth_first_frame is not None:
        raise InputError("a folder of ground truth is one dataset: give --ground_truth or several --dataset, not both")
    titles = several_inputs.name_folders(args.dataset)
    splits = args.split.split(",") if args.split else several_inputs.usual_splits(titles, args.data_dir)
    out = Path(args.out) if args.out else default_out(predictions, args.dataset.replace(",", "+"), splits, _shown(args))
    record = several.evaluate_several(
        predictions, args.dataset, splits, out=out, skip_missing=args.skip_missing, **choices
    )
    print(several.markdown(record).split("## How it was made")[0].strip())
    for title in record["datasets"]:
        _tell(score_files.load(out / title).record, f"{title}: ")
        if args.pages:
            print(f"pages: {out / title / 'pages' / 'index.html'}")
    print(f"\nscores: {out / 'scores.md'}, and a folder per dataset beside it")


def _tell(record: Mapping[str, Any], which: str = "") -> None:
    """Prints on stderr what is missing or remarkable."""
    for name in record["missing"]["videos"]:
        print(f"no prediction: {which}video {name}", file=sys.stderr)
    for name, ranges in record["missing"]["frames"].items():
        print(f"no prediction: {which}{name}, frames {ranges} (counted from 0)", file=sys.stderr)
    for warning in record.get("leaks", ()):
        print(f"warning: {warning}", file=sys.stderr)
    for remark in record["maps"]["remarks"]:
        print(f"note: {which}{remark}", file=sys.stderr)
    if counted := undefined_scores.in_words(record["undefined"]["metrics"]):
        fate = undefined_scores.FATES[record["undefined"]["rule"]]
        print(f"warning: {which}frames without a score because of their map: {counted} ({fate})", file=sys.stderr)


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")  # scoring must not take the memory of an accelerator in use
    sys.exit(main())
