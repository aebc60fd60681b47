"""Writes the maps that models predict for a training split, as targets of the next stage of weak supervision.

    python -m avsd_jax.pseudo_labels --checkpoint=RUN[,RUN...] | --model=NAME[,NAME...] --out=FOLDER
                                     [--dataset=NAME] [--split=NAME] [--data_dir=DIR] [--stride=1] [--batch_size=8]

Maps of several models are averaged. `python -m avsd_jax.main ... --config.target_maps=FOLDER` trains on them instead of
the density maps; frames without a map have no target. No eye-tracking data is read. See docs/weak_supervision.md.
"""

import avsd_jax.common.needs_train  # noqa: F401  # isort: skip

import argparse
import sys
from collections.abc import Sequence

from avsd_jax.common import cli, logs
from avsd_jax.common.programs import keep_programs
from avsd_jax.prediction import pseudo_labels


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    parser = cli.Parser("python -m avsd_jax.pseudo_labels", __doc__)
    parser.add_argument(
        "--checkpoint",
        default="",
        metavar="RUN[,RUN...]",
        help="trained, converted or shared models, or hf:// addresses",
    )
    parser.add_argument("--model", default="", metavar="NAME[,NAME...]", help="models without weights, such as gbvs")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder to write to; created if missing")
    parser.add_argument("--dataset", help="NAME or NAME/CONFIG (default: the first model's)")
    parser.add_argument("--split", help="its split (default: the first model's training split)")
    parser.add_argument("--data_dir", help="folder of built datasets (default: the first model's)")
    parser.add_argument("--stride", type=cli.positive, default=1, help="distance between the predicted frames")
    parser.add_argument("--batch_size", type=cli.positive, default=8, help="clips per batch (default: 8)")
    parser.add_argument("--verbose", action="store_true", help="also print the logs of libraries")
    return cli.run(lambda: _command_line(parser.parse_args(argv)))


@cli.sigterm_exits()
def _command_line(args: argparse.Namespace) -> None:
    with logs.shown(args.verbose):
        keep_programs()
        count = pseudo_labels.write(
            [folder for folder in args.checkpoint.split(",") if folder],
            args.out,
            models=[name for name in args.model.split(",") if name],
            dataset=args.dataset,
            split=args.split,
            data_dir=args.data_dir,
            stride=args.stride,
            batch_size=args.batch_size,
        )
    print(f"{count} maps in {args.out}")


if __name__ == "__main__":
    sys.exit(main())
