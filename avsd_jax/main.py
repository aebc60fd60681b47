"""Command line of training and evaluation.

python -m avsd_jax.main --config=configs/avinet.py[:variant] --workdir=DIR [--mode=train|eval|train_and_eval]
                        [--config.FIELD=VALUE ...]
"""

import contextlib
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from avsd_jax import datasets
from avsd_jax.common.cli import run as run_command
from avsd_jax.data import dataset_names
from avsd_jax.errors import InputError
from avsd_jax.experiment import report
from avsd_jax.experiment.comparison import Row, check_machine, plan
from avsd_jax.runs.checkpoint import load_for_inference
from avsd_jax.runs.components import scoring_store
from avsd_jax.runs.run_folder import check_processes_agree, locked
from avsd_jax.training import loop
from avsd_jax.training.preemption import PREEMPTED, Preempted, leave_on_signals, sigterm_raises

MODES = ("train", "eval", "train_and_eval")
NON_FINITE = 3  # exit status after a loss that is not finite
PACKAGED_CONFIGS = Path(__file__).parent / "configs"

# What a configuration file that is wrong raises.
_MISTAKES = (AttributeError, ImportError, LookupError, NameError, SyntaxError, TypeError, ValueError)

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file, with `:variant` where it has some.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: checkpoints, logs, report.")
_MODE = flags.DEFINE_enum("mode", "train_and_eval", MODES, "What to do.")
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "This is one of several processes; see `join_processes`.")


def run(config: ConfigDict, workdir: str | Path, mode: str = "train_and_eval") -> dict[str, Any]:
    """Trains and scores the rows of a configuration.

    Args:
        config: as the files in `configs/` make it.
        workdir: folder of the run; each row gets a folder in it.
        mode: `train`, `eval` (of what is trained already) or `train_and_eval`.

    Returns:
        The report's record (see `avsd_jax.experiment.report`); empty for `mode="train"` and on all processes but the
        first.
    """
    workdir = Path(workdir)
    check_processes_agree(config, workdir)
    if "scam" in config:
        raise InputError("this configuration makes maps to train on: run it by python -m avsd_jax.scam")
    rows = plan(config, workdir, mode)
    if config.build_data:
        # Every process asks: one builds, the others wait for it, or build on their own machine.
        for name in dataset_names.members(config.dataset):
            datasets.build(name, config.data_dir, num_workers=os.cpu_count() or 1)
    if mode != "train":
        for row in (row for row in rows if row.label):
            scoring_store(row.config)  # fails here, and not once everything is trained
    # Scoring alone may go on beside a training.
    with contextlib.nullcontext() if mode == "eval" else locked(workdir):
        return _train_and_score(config, workdir, rows, mode)


def _train_and_score(config: ConfigDict, workdir: Path, rows: Sequence[Row], mode: str) -> dict[str, Any]:
    check_machine(rows, mode)
    seconds = {}
    if mode != "eval":
        for row in (row for row in rows if row.trains):
            started = time.monotonic()
            loop.train(row.config, row.folder)
            seconds[row.name] = time.monotonic() - started
    if mode == "train":
        return {}
    # Restoring a checkpoint is a meeting of all processes, so each of them scores; one writes.
    scored = [score(row, seconds) for row in rows if row.label]
    return report.write(workdir, config, scored, loop.provenance()) if jax.process_index() == 0 else {}


def score(row: Row, seconds: dict[str, float]) -> dict[str, Any]:
    """Scores one trained row: `{"label", "conditions", "train_seconds", "eval_seconds"}`."""
    started = time.monotonic()
    _, variables = load_for_inference(row.weights)
    conditions = loop.evaluate(row.config, variables)
    return {
        "label": row.label,
        "conditions": conditions,
        "curve": report.training_curve(row.folder),
        "train_seconds": seconds.get(row.name),
        "eval_seconds": time.monotonic() - started,
    }


def find_config(argument: str) -> str:
    """The path of a configuration file; one that the package carries where the given path does not exist.

    Raises:
        InputError: there is no such file.
    """
    path, _, variant = argument.partition(":")
    if Path(path).is_file():
        return argument
    packaged = PACKAGED_CONFIGS / Path(path).name
    if not packaged.is_file():
        shipped = ", ".join(f"configs/{p.name}" for p in sorted(PACKAGED_CONFIGS.glob("*.py"))) or "configs/avinet.py"
        raise InputError(f"no configuration file {path}: give the path of one, such as {shipped}")
    return f"{packaged}:{variant}" if variant else str(packaged)


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line; a configuration that cannot be loaded is one clear error."""
    argv = list(argv)
    for i, argument in enumerate(argv):
        if argument.startswith("--config="):
            argv[i] = "--config=" + find_config(argument.removeprefix("--config="))
    try:
        rest = flags.FLAGS(argv)
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
