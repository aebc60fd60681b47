"""Trains and scores the models of a configuration, and writes the report.

python -m avsd_jax.main --config=configs/avinet.py[:variant] --workdir=DIR [--mode=train|eval|train_and_eval]
                        [--config.FIELD=VALUE ...]
"""

import avsd_jax.common.huge_pages  # noqa: F401  # isort: skip

import argparse
import sys
from collections.abc import Sequence

from avsd_jax.common import logs
from avsd_jax.common.programs import keep_programs
from avsd_jax.experiment import command_line, report
from avsd_jax.experiment.run import MODES, run


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    parser = command_line.parser("python -m avsd_jax.main", __doc__)
    parser.add_argument("--mode", default=MODES[-1], choices=MODES, help=f"what to do (default: {MODES[-1]})")
    parser.add_argument(
        "--distributed", action="store_true", help="this is one of several processes of a job (see launch/)"
    )
    return command_line.run(lambda: _run_command_line(command_line.parse(parser, argv)))


def _run_command_line(args: argparse.Namespace) -> None:
    if args.distributed:
        command_line.join_processes()
    with logs.shown(args.verbose):
        keep_programs(args.config.compilation_cache)
        record = run(args.config, args.workdir, args.mode)
    if record:
        print(report.table(record))
        if meanings := report.legend(record["rows"]):
            print(meanings + "\n")
        print(f"report: {args.workdir / 'report.md'}")


if __name__ == "__main__":
    sys.exit(main())
