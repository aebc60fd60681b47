"""The processes of one job: how they meet, whether they compute together, and how a failed one leaves."""

import argparse
import contextlib
import os
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from avsd_jax.common.cli import at_least, positive
from avsd_jax.common.parallel import AXIS, make_mesh
from avsd_jax.errors import InputError

MODES = ("auto", "off", "manual")
# Seconds without a sign of life after which a process counts as lost: the others end within a minute.
_HEARTBEAT = 30
# Seconds to wait for all processes at the start: machines of a pod do not start together, a check is to be short.
PATIENCE, PATIENCE_OF_CHECK = 300, 60
# Seconds that a failed process stays: those that fail by the same cause say so, too, before its end ends them.
_LAST_WORDS = 2.0
# Seconds after which a process says that it still waits, and by which jax gives up later than it.
_NOTICE, _LATER = 10.0, 30
_ADVICE = "start every one with the same coordinator and number of processes, no proxy or firewall between them"

_OPTIONS = {"coordinator": "JAX_COORDINATOR_ADDRESS", "num_processes": "JAX_NUM_PROCESSES"}
_OPTIONS |= {"process_id": "JAX_PROCESS_ID"}
# How the runtime says that it reaches a process no more: gloo (CPU), NCCL (GPU), the coordination service.
_LOST = (
    r"gloo|nccl|connection (closed|reset|refused)|heartbeat|coordination service|unavailable:|deadline_exceeded|barrier"
)

_joined = False  # whether this process has met those of its job


class ClusterError(RuntimeError):
    """The processes of a job cannot compute together: one sentence. Commands exit with status 1."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--distributed` and the options that belong to it."""
    parser.add_argument(
        "--distributed",
        nargs="?",
        const="auto",
        default="auto",
        choices=MODES,
        help="whether this is one of several processes of a job (see launch/): auto joins the job of a TPU pod, Slurm, "
        "Open MPI or launch/local.py if there is one, manual the one that the next three options name (default: auto)",
    )
    names = "or the environment variable"
    parser.add_argument("--coordinator", metavar="HOST:PORT", help=f"of process 0, {names} {_OPTIONS['coordinator']}")
    parser.add_argument("--num_processes", type=positive, metavar="N", help=f"{names} {_OPTIONS['num_processes']}")
    parser.add_argument("--process_id", type=at_least(0), metavar="I", help=f"{names} {_OPTIONS['process_id']}")


def join(
    mode: str = "auto",
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    patience: int = PATIENCE,
) -> None:
    """Joins the other processes of the job, if this is one of several. Call it before jax is used.

    Args:
        mode: `manual`: the job that the other arguments name, or the environment variables JAX_COORDINATOR_ADDRESS,
            JAX_NUM_PROCESSES and JAX_PROCESS_ID (`launch/local.py` sets them). `auto`: likewise if JAX_NUM_PROCESSES is
            set, else the job that jax finds on TPU pods and under Slurm or Open MPI, else none (also where this process
            has used jax already). `off`: none.
        coordinator: `HOST:PORT` of process 0, the port being free there.
        num_processes: of the job.
        process_id: of this one, from 0.
        patience: seconds to wait for the other processes.

    Raises:
        InputError: what names the job is missing or wrong.
    """
    given = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    if mode != "manual" and any(value is not None for value in given.values()):
        raise InputError(f"{_named(given)} needs --distributed=manual")
    if mode == "off":
        return
    # jax's own handler of SIGTERM handles neither Ctrl-C nor a second request; see `training.preemption`.
    jax.config.update("jax_enable_preemption_service", False)
    if mode == "manual" or _OPTIONS["num_processes"] in os.environ:
        # Without detection: under Slurm it would give every process one device.
        _initialize(_completed(given) | {"cluster_detection_method": "deactivate"}, patience)
    elif _may_be_in_a_job():
        _initialize({}, patience)


def _named(given: dict[str, object]) -> str:
    return ", ".join(f"--{name}" for name, value in given.items() if value is not None)


def _completed(given: dict[str, object]) -> dict[str, object]:
    """Returns jax's arguments: what is given, else the environment's."""
    found = {name: os.environ.get(_OPTIONS[name]) if value is None else value for name, value in given.items()}
    if missing := [name for name, value in found.items() if value is None]:
        words = ", ".join(f"--{name} (or {_OPTIONS[name]})" for name in missing)
        raise InputError(f"--distributed=manual lacks {words}: give it, or start with launch/local.py")
    for name in ("num_processes", "process_id"):
        if not str(found[name]).isdecimal():
            raise InputError(f"{_OPTIONS[name]}={found[name]} is no number: correct it")
        found[name] = int(found[name])
    if not found["process_id"] < found["num_processes"]:
        raise InputError(
            f"--process_id={found['process_id']} is none of {found['num_processes']} processes: number them from 0"
        )
    port = re.fullmatch(r".+:([0-9]{1,5})", found["coordinator"])
    if not port or not 0 < int(port[1]) < 1 << 16:
        raise InputError(f"--coordinator={found['coordinator']} is no HOST:PORT: correct it")
    found["coordinator_address"] = found.pop("coordinator")
    return found


def _may_be_in_a_job() -> bool:
    """Returns whether to let jax look for a job.

    It takes a notebook in Kubernetes for a part of a job, and a shell or batch script within an allocation of Slurm, a
    step of one task, for one of several tasks.
    """
    variables = os.environ
    if "KUBERNETES_SERVICE_HOST" in variables and "JOB_COMPLETION_INDEX" not in variables:
        return False
    return variables.get("SLURM_STEP_NUM_TASKS") != "1"


def _initialize(arguments: dict[str, object], patience: int) -> None:
    global _joined
    try:
        with _waiting(patience):
            jax.distributed.initialize(
                **arguments,
                initialization_timeout=patience + _LATER,
                heartbeat_timeout_seconds=_HEARTBEAT,
            )
    except (ValueError, RuntimeError) as error:
        alone = "coordinator_address should be defined", "before any JAX calls"
        if not arguments and any(words in str(error) for words in alone):
            return
        raise InputError(f"the job cannot be joined ({_first_line(error)}): {_ADVICE}") from error
    _joined = True


@contextlib.contextmanager
def _waiting(patience: int) -> Iterator[None]:
    """Says after a while what it waits for; ends the process if the block takes longer than `patience`."""

    def give_up() -> None:
        _say(f"error: not all processes of the job came within {patience} s: {_ADVICE}")
        os._exit(1)

    waits = f"waiting for the other processes of the job, up to {patience} s"
    timers = [threading.Timer(_NOTICE, _say, (waits,)), threading.Timer(patience, give_up)]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def check() -> None:
    """Prints the devices of this process, adds up a number of every device of the job, and prints the sum.

    Raises:
        ClusterError: the sum is wrong.
    """
    began = time.monotonic()
    mesh = make_mesh()
    local = jax.local_devices()
    print(
        f"process {jax.process_index()} of {jax.process_count()} on {socket.gethostname()}: "
        f"{len(local)} of {mesh.size} devices ({local[0].device_kind})",
        flush=True,
    )
    numbers = np.arange(1, mesh.size + 1, dtype=np.int32)
    split = NamedSharding(mesh, PartitionSpec(AXIS))
    placed = jax.make_array_from_callback(numbers.shape, split, lambda index: numbers[index])
    total = jax.jit(
        jax.shard_map(
            lambda x: jax.lax.psum(x, AXIS), mesh=mesh, in_specs=PartitionSpec(AXIS), out_specs=PartitionSpec()
        )
    )(placed)
    found, expected = int(total.addressable_data(0)[0]), int(numbers.sum())
    if found != expected:
        raise ClusterError(f"the devices add up to {found} instead of {expected}: look for a faulty one")
    if jax.process_index() == 0:
        print(f"psum over {mesh.size} devices: {found}, right, after {time.monotonic() - began:.1f} s")


def leaving_at_once(command: Callable[[], int], keep: tuple[int, ...]) -> int:
    """Runs a command of a job; if it fails, ends the process at once instead of waiting for the others.

    They would wait for this one, and it for them, each showing signs of life. A process that reaches another no more
    says so in one line.

    Args:
        command: returns an exit status.
        keep: statuses with which all processes end together.

    Returns:
        The exit status; without other processes, whatever `command` returns or raises.
    """
    try:
        status = command()
    except BaseException as error:
        if not _in_a_job():
            raise
        if isinstance(error, (RuntimeError, ValueError)) and re.search(_LOST, str(error), re.I):
            _say(
                f"error: another process of the job has ended or is out of reach ({_first_line(error)}): see what it "
                "printed last; the same command continues from the last checkpoint"
            )
        else:
            traceback.print_exc()
        status = 1
    if status not in keep:
        leave(status)
    return status


def leave(status: int) -> None:
    """Ends a process of a job at once, with a status; does nothing in a process on its own."""
    if _in_a_job():
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(_LAST_WORDS)
        os._exit(status)


def _in_a_job() -> bool:
    return _joined and jax.process_count() > 1
