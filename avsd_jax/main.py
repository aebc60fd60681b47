"""Command line of training and evaluation.

python -m avsd_jax.main --config=configs/avinet.py[:variant] --workdir=DIR [--mode=train|eval|train_and_eval]
                        [--config.FIELD=VALUE ...]
"""

import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from avsd_jax.common.cli import run as run_command
from avsd_jax.config.command_line import add_options, without_options
from avsd_jax.config.files import find_config
from avsd_jax.errors import InputError
from avsd_jax.experiment import report
from avsd_jax.experiment.run import MODES, run
from avsd_jax.training import loop
from avsd_jax.training.preemption import PREEMPTED, Preempted, leave_on_signals, sigterm_raises

NON_FINITE = 3  # exit status after a loss that is not finite

# What a configuration file that is wrong raises.
_MISTAKES = (AttributeError, ImportError, LookupError, NameError, SyntaxError, TypeError, ValueError)

_ARGUMENTS: list[str] = []  # of the command line, for the fields of the configuration among them

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Configuration file, with `:variant` where it has some.", sys_argv=_ARGUMENTS
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: checkpoints, logs, report.")
_MODE = flags.DEFINE_enum("mode", "train_and_eval", MODES, "What to do.")
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "This is one of several processes; see `join_processes`.")


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line; a configuration that cannot be loaded is one clear error."""
    argv, options = without_options(argv)
    for i, argument in enumerate(argv):
        if argument.startswith("--config="):
            argv[i] = "--config=" + find_config(argument.removeprefix("--config="))
    _ARGUMENTS[:] = argv
    try:
        rest = flags.FLAGS(argv)
        if flags.FLAGS.config:
            add_options(flags.FLAGS.config, options)
    except (flags.Error, *_MISTAKES) as error:
        # A configuration that fails to load comes as a whole traceback in the message; its last line says why.
        reason = re.sub(r"^\w+Error: ", "", str(error).strip().splitlines()[-1])
        while quoted := re.fullmatch(r"(['\"])(.*)\1", reason):  # once by each KeyError that it went through
            reason = quoted[2]
        if isinstance(error, AttributeError | KeyError) and reason.isidentifier():
            reason = f"the configuration has no field {reason!r}: its file lists those there are"
        elif guess := re.search(r'Did you mean "(\w+)" instead of "(\w+)"', reason):
            reason = f"the configuration has no field {guess[2]!r}: did you mean {guess[1]!r}?"
        raise InputError(reason) from error
    if len(rest) > 1:
        raise InputError(f"{rest[1]!r} is no option: fields of the configuration are set as --config.FIELD=VALUE")
    for name in ("config", "workdir"):
        if not flags.FLAGS[name].value:
            raise InputError(f"--{name} is missing: see python -m avsd_jax.main --help")
    return rest


def join_processes() -> None:
    """Joins the other processes of the job.

    jax finds them by itself on TPU pods and under Slurm or Open MPI; elsewhere JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID say who they are (`launch/local.py` sets them).

    Raises:
        InputError: there is nothing to find them by.
    """
    # Its own handler of SIGTERM knows neither Ctrl-C nor a second request; see `preemption`.
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


def main(argv: Sequence[str]) -> None:
    """Runs what the parsed flags say."""
    del argv
    if _DISTRIBUTED.value:
        join_processes()
    workdir = Path(_WORKDIR.value)
    # Rows of one comparison share most of their programs: the second one to need a program reads it from here.
    jax.config.update("jax_compilation_cache_dir", str(workdir.absolute() / "compiled"))
    # On a full disk there is no cache; what matters says so itself.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    logging.set_verbosity(logging.INFO)
    record = run(_CONFIG.value, workdir, _MODE.value)
    if record:
        print(report.table(record))
        print(f"report: {workdir / 'report.md'}")


def cli(command: Callable[[Sequence[str]], None] = main) -> None:
    """Entry point of a command with these flags: a user's mistake is one line on stderr and exit status 2.

    A run that was asked to stop and has saved its state ends with status 75, so that `main && next` does not go on.
    """
    sys.exit(run_command(lambda: _run_flags(command), statuses={loop.NonFiniteLossError: NON_FINITE}))


def _run_flags(command: Callable[[Sequence[str]], None]) -> int:
    return stoppable(lambda: app.run(command, flags_parser=parse_flags))


def stoppable(command: Callable[[], None]) -> int:
    """Runs a command that trains; returns 0, or 75 where it was asked to stop and has saved what there was to save."""
    try:
        with sigterm_raises():
            command()
    except Preempted as stop:
        leave_on_signals(PREEMPTED)
        print(stop, file=sys.stderr)
        return PREEMPTED
    return 0


if __name__ == "__main__":
    cli()
