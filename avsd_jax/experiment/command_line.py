"""Shared parts of the commands that run a configuration: `--config`, `--workdir`, and exit statuses."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from avsd_jax.common import cli, logs
from avsd_jax.config import command_line
from avsd_jax.errors import InputError
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
    args, fields = options.parse_known_args(argv)
    unknown = [field for field in fields if re.match(r"--?(?!-|(no)?config\.|\d)", field)]
    if unknown:
        options.error(f"unrecognized arguments: {' '.join(unknown)}")
    if not args.workdir:
        options.error("argument --workdir: is empty; give a folder")
    args.config = command_line.load(args.config, fields)
    args.workdir = Path(args.workdir)
    return args


def run(command: Callable[[], None]) -> int:
    """Runs a command that trains and returns its exit status: as `cli.run`, and 3 after a non-finite loss.

    A run that was stopped and has saved its state ends with status 75, so that `main && next` does not continue.
    """
    return cli.run(lambda: stoppable(command), statuses={loop.NonFiniteLossError: NON_FINITE})


def stoppable(command: Callable[[], None]) -> int:
    """Runs a command that trains; returns 0, or 75 if it was stopped by a signal and its state is saved."""
    try:
        with sigterm_raises():
            command()
    except Preempted as stop:
        leave_on_signals(PREEMPTED)
        print(stop, file=sys.stderr)
        return PREEMPTED
    return 0


def join_processes() -> None:
    """Joins the other processes of the job.

    jax finds them automatically on TPU pods and under Slurm or Open MPI; elsewhere by JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID (`launch/local.py` sets them).

    Raises:
        InputError: there is no such environment.
    """
    # jax's own handler of SIGTERM handles neither Ctrl-C nor a second request; see `preemption`.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        if "JAX_NUM_PROCESSES" in os.environ:
            jax.distributed.initialize(
                num_processes=int(os.environ["JAX_NUM_PROCESSES"]),
                process_id=int(os.environ["JAX_PROCESS_ID"]),
            )
        else:
            jax.distributed.initialize()
    except (KeyError, ValueError) as error:
        raise InputError(
            "--distributed found no cluster: start through Slurm, on a TPU pod, or with launch/local.py"
        ) from error
