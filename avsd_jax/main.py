"""Trains and scores the models of a configuration, and writes the report.

python -m avsd_jax.main --config=configs/avinet.py[:variant] --workdir=DIR [--mode=train|eval|train_and_eval]
                        [--distributed=auto|off|manual [--coordinator=HOST:PORT --num_processes=N --process_id=I]]
                        [--config.FIELD=VALUE ...]
python -m avsd_jax.main --check [--distributed=...]
"""

import avsd_jax.common.huge_pages  # noqa: F401  # isort: skip
import avsd_jax.common.needs_train  # noqa: F401  # isort: skip

import argparse
import sys
from collections.abc import Sequence

from avsd_jax.common import cluster, logs
from avsd_jax.common.programs import keep_programs
from avsd_jax.experiment import command_line, report
from avsd_jax.experiment.run import MODES, run


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    checks = "--check" in argv
    unused = {"config": "none", "workdir": "none"} if checks else {}
    parser = command_line.parser("python -m avsd_jax.main", __doc__, **unused)
    parser.add_argument("--mode", default=MODES[-1], choices=MODES, help=f"what to do (default: {MODES[-1]})")
    cluster.add_options(parser)
    parser.add_argument("--check", action="store_true", help="only show the devices and let them add up a number")
    if checks:
        return command_line.run(lambda: _check(command_line.known(parser, argv)[0]))
    return command_line.run(lambda: _run_command_line(command_line.parse(parser, argv)))


def _check(args: argparse.Namespace) -> None:
    cluster.join(
        args.distributed, args.coordinator, args.num_processes, args.process_id, patience=cluster.PATIENCE_OF_CHECK
    )
    cluster.check()


def _run_command_line(args: argparse.Namespace) -> None:
    cluster.join(args.distributed, args.coordinator, args.num_processes, args.process_id)
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
