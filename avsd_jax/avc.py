"""Scores the audio-visual consistency (AVC) of a video file over time: does the audio belong to what is visible?

    python -m avsd_jax.avc INPUT.mp4 --out=DIR [--checkpoint=DIR] [--every=0.25]
                           [--threshold=0.5 | --hysteresis=LOW,HIGH]

The checkpoint is the folder of a classifier converted by `python -m avsd_jax.convert`, of a training run of the model
`avc`, or of a run that a classifier gates; or `hf://owner/name[@revision]` (docs/sharing.md). Without one, a classifier
that has no weights is taken: it asks whether any region of the picture changes along with the audio. It scores one
frame every `--every` seconds, from the frames and the audio around it, and the score holds until the next one. The
output folder gets

    consistency.csv    per frame: number from 1, time in seconds, probability of consistency, label 1 or 0
    consistency.json   the scores alone, with settings and notes on the input
    consistency.png    a plot of the probability, green where the label is 1

when all of them are complete. A folder holds one video: another run on the same video replaces its files, one of
another video is refused. `python -m avsd_jax.avc_labels convert --kind=consistency` makes the labels of a dataset from
such folders.

A frame is consistent above the threshold. With --hysteresis=LOW,HIGH it becomes consistent above HIGH and stays so
down to LOW, so that a score that wavers does not change the label every time. A file without audio has nothing to
compare: its probability is nan, and every label 0. See docs/prediction.md.
"""

import avsd_jax.common.interrupt  # isort: skip

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from avsd_jax.common import cli, logs
from avsd_jax.common.programs import keep_programs
from avsd_jax.data.consistency_grid import EVERY
from avsd_jax.media.reading import probe
from avsd_jax.models.common.network import PRECISIONS
from avsd_jax.prediction import decision
from avsd_jax.prediction.consistency import ConsistencyScorer, check_folder


def _parser() -> cli.Parser:
    parser = cli.Parser("python -m avsd_jax.avc", __doc__)
    parser.add_argument("video", metavar="INPUT.mp4", help="the video file")
    parser.add_argument(
        "--checkpoint",
        metavar="DIR",
        help="a classifier, or a run gated by one, or hf://owner/name (default: one without weights)",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to; created if missing")
    parser.add_argument(
        "--every", type=cli.number(0.001, 3600.0), default=EVERY, help=f"seconds between two scores (default: {EVERY})"
    )
    decision.add_options(parser)
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of float32 products on a GPU or TPU (default: the run's)",
    )
    parser.add_argument("--batch_size", type=cli.positive, default=4, help="clips per batch (default: 4)")
    parser.add_argument("--verbose", action="store_true", help="also print the logs of libraries")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    return cli.run(lambda: _score_command_line(_parser().parse_args(argv)))


@cli.sigterm_exits()
def _score_command_line(args: argparse.Namespace) -> None:
    # Both fail here, before the classifier is loaded.
    probe(args.video)
    check_folder(Path(args.out), Path(args.video).name)
    with logs.shown(args.verbose):
        keep_programs()
        scorer = ConsistencyScorer(args.checkpoint, args.batch_size, args.precision)
        result = scorer.run(args.video, args.out, every=args.every, decision=decision.chosen(args))
    table = next(path for path in result.files if path.suffix == ".csv")
    print(f"{result.num_frames} frames, {result.consistent / result.num_frames:.1%} consistent: {table}")


if __name__ == "__main__":
    avsd_jax.common.interrupt.loaded()
    sys.exit(main())
