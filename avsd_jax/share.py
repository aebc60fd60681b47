"""Shares a trained or converted model: weights as safetensors, its configuration, and a model card.

    python -m avsd_jax.share DIR --out=FOLDER [--overwrite]
    python -m avsd_jax.share DIR --to=hf://owner/name[/folder] [--private] [--message=TEXT]
                             [--licence=ID] [--step=N] [--max_shard_size=5GB] [--dry_run]

DIR is the folder of a training run, of one of its rows, or of a converted model; `DIR/best` is the best step of a run
that was scored during training. What is shared is what `predict --checkpoint=DIR` uses: the newest step, or that of
--step, with the average of the parameters if one was kept, without the state of the optimiser. FOLDER, or the
repository of the hub in one commit, gets

    model.safetensors    the weights
    config.json          the configuration, without folders of this machine
    calibration.json     the temperature of its classifier, if it is calibrated
    README.md            a model card: data, training, protocol and scores with intervals, parity, origin, licence, all
                         from the record of the run; what is not in it is named as not recorded

Every command then takes `--checkpoint=FOLDER` or `--checkpoint=hf://owner/name[/folder][@revision]`. Uploading needs
`pip install "avsd-jax[hub]"` and a token (`hf auth login`, or HF_TOKEN). --dry_run writes nothing and prints the card.
See docs/sharing.md.
"""

import argparse
import re
import sys
from collections.abc import Sequence

from avsd_jax.common import cli, hub, logs
from avsd_jax.errors import InputError
from avsd_jax.runs.weights_file import Kept
from avsd_jax.sharing import folder
from avsd_jax.sharing.record import Record

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def _size(text: str) -> int:
    """Returns a number of bytes from text such as "500MB"."""
    found = re.fullmatch(r"(\d+)(KB|MB|GB|)", text)
    if found is None or int(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write it as 500MB or 5GB")
    return int(found[1]) * _UNITS[found[2]]


def _licence(text: str) -> str:
    """Returns the identifier of a licence as the hub has it."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no identifier of a licence: write it as mit or cc-by-nc-4.0")
    return text


def _parser() -> cli.Parser:
    parser = cli.Parser("python -m avsd_jax.share", __doc__)
    parser.add_argument("run", metavar="DIR", help="a training run, or a converted or shared model")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--to", metavar="ADDRESS", help="hf://owner/name[/folder], which is created if missing")
    target.add_argument("--out", metavar="FOLDER", help="new folder to write")
    parser.add_argument("--overwrite", action="store_true", help="with --out: replace another shared model")
    parser.add_argument("--private", action="store_true", help="with --to: a new repository is private")
    parser.add_argument("--message", metavar="TEXT", help="with --to: of the commit")
    parser.add_argument("--licence", type=_licence, metavar="ID", help="such as mit (default: not stated)")
    parser.add_argument("--step", type=cli.at_least(0), help="of the saved steps (default: the newest)")
    parser.add_argument(
        "--max_shard_size", "--max-shard-size", type=_size, default="5GB", help="of a file of weights (default: 5GB)"
    )
    parser.add_argument("--dry_run", "--dry-run", action="store_true", help="write nothing; print the model card")
    parser.add_argument("--verbose", action="store_true", help="also print the logs of libraries")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    return cli.run(lambda: _command_line(_parser().parse_args(argv)))


@cli.sigterm_exits()
def _command_line(args: argparse.Namespace) -> None:
    address = _target(args)
    with logs.shown(args.verbose):
        record = Record.of(args.run, args.step)
        kept = folder.weights_of(record)
        text = folder.card_of(record, kept, str(address) if address else "FOLDER", args.licence or "")
        size = sum(array.nbytes for array in kept.arrays.values()) / 1e6
        if args.dry_run:
            print(f"{text}\nstep {record.step}, {size:.1f} MB of weights: nothing is written (--dry_run)")
        elif address is None:
            written = folder.write(args.out, record, text, kept, args.max_shard_size, args.overwrite)
            state = "wrote" if written else "unchanged:"
            print(f"{state} {args.out}: step {record.step}, {size:.1f} MB of weights")
        else:
            print(f"shared step {record.step}, {size:.1f} MB of weights: {_upload(args, address, record, text, kept)}")


def _target(args: argparse.Namespace) -> hub.Address | None:
    """Returns the address to upload to, None without one; raises InputError for options that do not fit."""
    if args.to is None:
        given = [name for name in ("private", "message") if getattr(args, name)]
        if given:
            raise InputError(f"--{given[0]} is of --to: leave it out, or give --to=hf://owner/name")
        return None
    if not hub.is_address(args.to):
        raise InputError(f"--to={args.to} is no address of a hub: give hf://owner/name, or --out for a folder")
    address = hub.Address.of(args.to)
    if address.revision:
        raise InputError(f"--to={args.to} has a revision, and models are shared to the default branch: leave it out")
    if args.overwrite:
        raise InputError("--overwrite is of --out: the hub keeps earlier commits, so leave it out")
    return address


def _upload(args: argparse.Namespace, address: hub.Address, record: Record, text: str, kept: Kept) -> str:
    with folder.temporary() as made:
        folder.fill(made, record, text, kept, args.max_shard_size)
        files = {path.name: path for path in sorted(made.iterdir())}
        message = args.message or f"Share {record.config.model_name}, step {record.step}, by avsd_jax"
        return hub.upload(files, address, message, args.private)


if __name__ == "__main__":
    sys.exit(main())
