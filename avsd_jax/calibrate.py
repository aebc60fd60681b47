"""Calibrates the probabilities of a consistency classifier, without training it further.

    python -m avsd_jax.calibrate --checkpoint=DIR [--dataset=NAME] [--split=NAME] [--data_dir=DIR] [--every=0.25]
                                 [--out=DIR]

`DIR` is a converted or shared classifier, a run of the model `avc`, or a run that a classifier gates, or the address of
one on a hub (docs/sharing.md). One number, the temperature by which the classifier's logits are divided, is fitted to
the labels of consistency of validation videos, and written to `DIR/calibration.json`; with --out a copy of the model
gets it, as a model of a hub needs. From then on the probabilities of `avc` and `predict` and the calibration error of
scores use it; no decision at 0.5 changes, and no map.

The videos are those that `--config.calibration_share` held out of the training split, or those of `--split`. Videos of
the run's test split are refused. A model that was converted, not trained, is calibrated on its training split by
default. Training further makes the number invalid: calibrate again. See docs/prediction.md.
"""

import avsd_jax.common.interrupt  # isort: skip
import avsd_jax.common.needs_train  # noqa: F401  # isort: skip

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from avsd_jax.common import cli, logs
from avsd_jax.common.programs import keep_programs
from avsd_jax.data.consistency_grid import EVERY
from avsd_jax.runs import temperature
from avsd_jax.scoring.calibrate_run import Videos, calibrate_run


def _parser() -> cli.Parser:
    parser = cli.Parser("python -m avsd_jax.calibrate", __doc__)
    parser.add_argument(
        "--checkpoint", required=True, metavar="DIR", help="a classifier, or a run gated by one, or hf://owner/name"
    )
    parser.add_argument("--dataset", default="", help="dataset, or several joined by commas (default: the run's)")
    parser.add_argument("--split", default="", help="split of validation videos (default: what the run held out)")
    parser.add_argument("--data_dir", default="", metavar="DIR", help="folder of datasets (default: the run's)")
    parser.add_argument(
        "--every", type=cli.number(0.0, 3600.0), default=EVERY, help=f"seconds between two scores (default: {EVERY})"
    )
    parser.add_argument("--batch_size", type=cli.positive, default=8, help="clips per batch (default: 8)")
    parser.add_argument("--out", metavar="DIR", help="new folder for a copy of the model (default: its own folder)")
    parser.add_argument("--verbose", action="store_true", help="also print the logs of libraries")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    return cli.run(lambda: _calibrate_command_line(_parser().parse_args(argv)))


@cli.sigterm_exits()
def _calibrate_command_line(args: argparse.Namespace) -> None:
    videos = Videos(args.dataset, args.split, args.data_dir)
    with logs.shown(args.verbose):
        keep_programs()
        record = calibrate_run(args.checkpoint, videos, out=args.out, every=args.every, batch_size=args.batch_size)
    print(
        f"temperature {record['temperature']:.3g} from {record['frames']} frames of {record['videos']} videos "
        f"({record['dataset']}, {record['split']}); expected calibration error {record['ece_before']:.3f} before, "
        f"{record['ece_after']:.3f} after: {Path(args.out or args.checkpoint) / temperature.FILE}"
    )


if __name__ == "__main__":
    avsd_jax.common.interrupt.loaded()
    sys.exit(main())
