"""The folder of a run: its lock, and the configuration with which it resumes."""

import contextlib
import datetime
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from avsd_jax import losses
from avsd_jax.common import atomic_files, file_locks
from avsd_jax.config.base import completed, model_options
from avsd_jax.config.fields import check_fields
from avsd_jax.errors import InputError, storage_error
from avsd_jax.runs import checkpoint, weights_file
from avsd_jax.runs.optimizer import make_schedule

LOCK_FILE = ".lock"

# A run may be resumed with these fields changed; a change of any other makes it another run.
MAY_CHANGE = (
    "total_steps",
    "log_every",
    "checkpoint_every",
    "keep_checkpoints",
    "tensorboard",
    "profile_steps",
    "evaluate_every",
    "data_dir",
    "data_threads",
    "executor",
    "remat",
    "compilation_cache",
    "precision",
    "rows",
    "row_changes",
    "eval_stride",
    "eval_batch_size",
    "avc_every",
    "audit",
    "smooth_sigma",
    "test_split",
)

# Fields that may differ between the machines of one job.
_OF_A_MACHINE = ("data_dir", "data_threads", "compilation_cache")

# ---------------------------------------------------------------------------------------------------------------------
# One run at a time
# ---------------------------------------------------------------------------------------------------------------------

_held: dict[Path, int] = {}  # folders that this process has locked, and how often


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks `folder` for training by this run alone; it is created if missing and removed if it stays empty.

    The first process of a job takes the lock for all. The system releases it when the process ends, however that
    happens. A process may lock a folder again that it holds already. Without locks in the file system, there is none.

    Raises:
        InputError: in all processes of the job: another run has the folder, or it cannot be made.
        StorageError: the disk is full or read-only.
    """
    key = folder.resolve()
    if key in _held:
        _held[key] += 1
        try:
            yield
        finally:
            _held[key] -= 1
        return
    with contextlib.ExitStack() as stack:
        failure: Exception | None = None
        if jax.process_index() == 0:
            try:
                stack.enter_context(_made(folder))
                stack.enter_context(_lock_file(folder))
            except (InputError, OSError) as error:
                failure = error
        _agree(failure, folder)
        _held[key] = 1
        stack.callback(_held.pop, key)
        yield


def _agree(failure: Exception | None, folder: Path) -> None:
    """Raises in every process if the first one failed."""
    if jax.process_count() > 1:
        failed = multihost_utils.broadcast_one_to_all(np.array(failure is not None))
        if failed and failure is None:
            raise InputError(f"the first process of this job cannot use {folder}: see its message")
    if failure is not None:
        raise failure


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Creates a folder; at the end removes the created folders that are still empty."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    atomic_files.make_folder(folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # not empty: it is needed
            for path in made:
                path.rmdir()


@contextlib.contextmanager
def _lock_file(folder: Path) -> Iterator[None]:
    path = folder / LOCK_FILE
    try:
        file = _open_locked(path)
    except OSError as error:
        raise storage_error(error, folder) or InputError(
            f"{path} cannot be written ({error.strerror}): give another --workdir"
        ) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # before the lock is released: no process can lock a file that no longer exists
        file.close()


def _open_locked(path: Path) -> TextIO:
    """Opens the lock file, locks it and writes the holder into it."""
    while True:
        file = path.open("a+")
        try:
            file_locks.lock(file)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise InputError(
                f"{path.parent} is in use by {holder}: wait for it, stop it, or give another --workdir"
            ) from error
        except OSError as error:
            logging.warning("%s cannot be locked (%s): start no second run there", path.parent, error)
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            file.close()  # its holder removed it between our opening and locking it
            continue
        try:
            file.truncate(0)
            started = datetime.datetime.now().isoformat(" ", "seconds")
            file.write(f"process {os.getpid()} on {socket.gethostname()} (started {started})\n")
            file.flush()
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            with contextlib.suppress(OSError):
                file.close()
            raise
        return file


# ---------------------------------------------------------------------------------------------------------------------
# One configuration
# ---------------------------------------------------------------------------------------------------------------------


def check_processes_agree(config: ConfigDict, workdir: str | Path) -> None:
    """Raises InputError in every process of a job unless all have the same configuration and folder.

    The location of the data and the number of threads that read it may differ between machines.
    """
    if jax.process_count() == 1:
        return
    shared = {k: v for k, v in _plain(config).items() if k not in _OF_A_MACHINE}
    record = json.dumps([shared, str(workdir)], sort_keys=True)
    own = np.frombuffer(hashlib.sha256(record.encode()).digest(), np.uint8)
    digests = multihost_utils.process_allgather(own)
    others = [str(i) for i, digest in enumerate(digests) if (digest != digests[0]).any()]
    if others:
        raise InputError(
            f"the configuration or --workdir of process {', '.join(others)} is not that of process 0: give every "
            "process of a job the same command"
        )


def check_same_run(config: ConfigDict, workdir: Path, may_change: Sequence[str] = MAY_CHANGE) -> None:
    """Raises InputError if `workdir` holds a run whose record differs in a field that determines its results."""
    if not (workdir / checkpoint.CONFIG_FILE).exists():
        return
    old, new = _plain(_record(workdir)), _plain(completed(config))
    if old.get("model_name") == new["model_name"]:  # an option that one of them omits has its default
        options = _plain(model_options(new["model_name"]))
        old["model"], new["model"] = options | old["model"], options | new["model"]
    changed = [k for k in sorted(set(old) | set(new)) if k not in may_change and old.get(k) != new.get(k)]
    if changed:
        raise InputError(
            f"{workdir} holds a run with {changed[0]}={old.get(changed[0])!r}, now {new.get(changed[0])!r}: "
            "use another --workdir"
        )


def _record(workdir: Path) -> ConfigDict:
    """Reads the record of a run.

    Raises:
        InputError: it is damaged: a field is missing or has a value that means nothing.
    """
    record = checkpoint.read_config(workdir)
    try:
        check_fields(record)
    except InputError as error:
        path = workdir / checkpoint.CONFIG_FILE
        raise InputError(f"{path} is damaged ({error}): restore it, or use another --workdir") from error
    return record


def check_can_continue(config: ConfigDict, workdir: Path) -> None:
    """Raises InputError if `workdir` holds steps that this configuration cannot continue.

    A folder without a saved step is not a run: its record is replaced. Logs a warning if a new number of steps changes
    the learning rates of the run.
    """
    if weights_file.is_in(workdir):
        raise InputError(f"{workdir} is a shared model: start from it by --config.init={workdir}, in another --workdir")
    steps = checkpoint.saved_steps(workdir)
    if not steps:
        return
    check_same_run(config, workdir)
    if config.total_steps < steps[-1]:
        raise InputError(
            f"total_steps={config.total_steps} and {workdir} is at step {steps[-1]} already: give {steps[-1]} or more, "
            "or another --workdir"
        )
    if (workdir / checkpoint.CONFIG_FILE).exists():
        before = checkpoint.read_config(workdir)
        if before.total_steps != config.total_steps:
            _warn_of_other_rates(config, before.total_steps, workdir, steps[-1])


def _warn_of_other_rates(new: ConfigDict, total_before: int, workdir: Path, done: int) -> None:
    old = new.copy_and_resolve_references()
    old.total_steps = total_before
    totals = old.total_steps, new.total_steps
    steps = np.arange(max(done - 1, 0), max(done, min(totals)))
    effects = []
    before, after = (np.asarray(jax.vmap(make_schedule(c))(steps)) for c in (old, new))
    differ = np.flatnonzero(~np.isclose(before, after, rtol=1e-6, atol=0))
    if len(differ):
        first = differ[0]
        effects.append(f"learning_rate of step {steps[first] + 1} is {after[first]:.3g}, not {before[first]:.3g}")
    sides = [losses.side_schedule(c.total_steps, c.side_epochs) for c in (old, new)]
    if all(sides):
        effects.append("side maps have other weights")
    if effects:
        logging.warning(
            "%s: total_steps was %d and is %d, which changes the rest of the run: %s. For the schedule of a whole run "
            "of %d steps train in another --workdir",
            workdir,
            *totals,
            "; ".join(effects),
            totals[1],
        )


def _plain(config: ConfigDict) -> dict[str, Any]:
    """Returns the configuration as JSON values."""
    return json.loads(config.to_json())
