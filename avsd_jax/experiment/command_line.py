"""Shared parts of the commands that run a configuration: `--config`, `--workdir`, and exit statuses."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from avsd_jax.common import cli, cluster, logs
from avsd_jax.config import command_line
from avsd_jax.training import loop
from avsd_jax.training.preemption import PREEMPTED, Preempted, leave_on_signals, sigterm_raises

NON_FINITE = 3  # exit status after a loss that is not finite


def parser(prog: str, description: str | None, config: str | None = None, workdir: str | None = None) -> cli.Parser:
    """Builds a parser of the options of all such commands.

    Args:
        prog: the command in usage messages.
        description: the text of `--help`.
        config: default configuration; required on the command line if None.
        workdir: default folder; required on the command line if None.
    """
    made = cli.Parser(prog, description, epilog="Any field of the configuration is set as --config.FIELD=VALUE.")
    made.add_argument(
        "--config",
        required=config is None,
        default=config,
        metavar="FILE[:VARIANT]",
        help="configuration file, such as configs/avinet.py:demo" + (f" (default: {config})" if config else ""),
    )
    made.add_argument(
        "--workdir",
        required=workdir is None,
        default=workdir,
        help="folder of the run: checkpoints, logs, report" + (f" (default: {workdir})" if workdir else ""),
    )
    made.add_argument("--verbose", action="store_true", help=f"also print all records of WORKDIR/{logs.FILE}")
    return made


def parse(options: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses a command line; `config` becomes the configuration with its fields set, `workdir` a path.

    Raises:
        InputError: an option is unknown, missing or has a wrong value, or the configuration cannot be loaded.
    """
    args, fields = known(options, argv)
    if not args.workdir:
        options.error("argument --workdir: is empty; give a folder")
    if "://" in args.workdir:
        options.error(f"argument --workdir: {args.workdir} is no folder; mount it and give its path (launch/README.md)")
    args.config = command_line.load(args.config, fields)
    args.workdir = Path(args.workdir)
    return args


def known(options: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """Parses a command line without its configuration; also returns the arguments that set fields of it.

    Raises:
        InputError: an option is unknown, missing or has a wrong value.
    """
    args, fields = options.parse_known_args(argv)
    unknown = [field for field in fields if re.match(r"--?(?!-|(no)?config\.|\d)", field)]
    if unknown:
        options.error(f"unrecognized arguments: {' '.join(unknown)}")
    return args, fields


def run(command: Callable[[], None]) -> int:
    """Runs a command that trains and returns its exit status: as `cli.run`, and 3 after a non-finite loss.

    A run that was stopped and has saved its state ends with status 75, so that `main && next` does not continue. If one
    process of a job fails, it ends at once.
    """
    statuses = {loop.NonFiniteLossError: NON_FINITE, cluster.ClusterError: cli.FAILED}
    return cluster.leaving_at_once(lambda: cli.run(lambda: stoppable(command), statuses), keep=(0, PREEMPTED))


def stoppable(command: Callable[[], None]) -> int:
    """Runs a command that trains; returns 0, or 75 if it was stopped by a signal and its state is saved."""
    try:
        with sigterm_raises():
            command()
    except Preempted as stop:
        leave_on_signals(PREEMPTED)
        print(stop, file=sys.stderr)
        if not stop.together:
            cluster.leave(PREEMPTED)
        return PREEMPTED
    return 0
