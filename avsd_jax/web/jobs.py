"""Work in the background: one job at a time, in a process of its own that keeps its model.

The process is started with the first job, reads tasks as lines of JSON and writes events as lines of JSON
(`avsd_jax/web/worker.py`). So a damaged file that crashes a decoder ends one job and not the server, and a job is
cancelled by ending the process: what it wrote is removed by itself, or at the next start.
"""

import contextlib
import json
import logging
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

COMMAND = (sys.executable, "-m", "avsd_jax.web.worker")
WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
_FINAL = (DONE, FAILED, CANCELLED)
# Jobs that are remembered after their end, and jobs that may wait.
_MOST, MOST_WAITING = 200, 100
# From the request to end until the process is killed.
_GRACE_SECONDS = 5.0


@dataclass
class Job:
    """A job.

    Attributes:
        id: a random word.
        key: two jobs of one key do the same.
        task: what the worker does: `kind`, a name of `avsd_jax.web.worker.TASKS`, and its arguments.
        about: what a page may show of it.
        state: one of the words above.
        phase: what it does now, in words.
        done, total: how far it is; of frames, or 0 and None.
        result: of the task.
        error: one sentence if it failed.
        began: of the work, in seconds of `time.monotonic`.
    """

    id: str
    key: str
    task: Mapping[str, Any]
    about: Mapping[str, Any]
    state: str = WAITING
    phase: str = "waiting for the job before it"
    done: int = 0
    total: int | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    began: float | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in _FINAL

    def described(self) -> dict[str, Any]:
        """Returns what a page shows."""
        shown = ("id", "state", "phase", "done", "total", "result", "error")
        seconds = None if self.began is None else round(time.monotonic() - self.began, 1)
        return {"kind": self.task["kind"], **self.about, **{name: getattr(self, name) for name in shown}} | {
            "seconds": seconds
        }


class Jobs:
    """The jobs of a server, done in order.

    Args:
        command: starts the worker process.
    """

    def __init__(self, command: Sequence[str] = COMMAND):
        self._command = tuple(command)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._running: Job | None = None
        self._process: subprocess.Popen[str] | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def submit(self, key: str, task: Mapping[str, Any], about: Mapping[str, Any]) -> Job:
        """Adds a job, or returns the one of this key that has not ended.

        Raises:
            OverflowError: too many jobs wait.
        """
        with self._changed:
            for job in self._jobs.values():
                if job.key == key and not job.ended:
                    return job
            if len(self._waiting) >= MOST_WAITING:
                raise OverflowError("too many jobs wait: try again when some are done")
            job = Job(secrets.token_hex(8), key, dict(task), dict(about))
            self._jobs[job.id] = job
            self._waiting.append(job)
            for old in [each.id for each in self._jobs.values() if each.ended][:-_MOST]:
                del self._jobs[old]
            self._changed.notify_all()
            return job

    def get(self, job_id: str) -> Job | None:
        """Returns a job; None if there is none of that id."""
        with self._changed:
            return self._jobs.get(job_id)

    def all(self) -> list[Job]:
        """Returns all jobs, in the order of their submission."""
        with self._changed:
            return list(self._jobs.values())

    def cancel(self, job: Job) -> None:
        """Ends a job if it has not ended."""
        with self._changed:
            if job.state == WAITING:
                self._waiting.remove(job)
                job.state, job.phase = CANCELLED, "cancelled"
            elif job.state == RUNNING:
                job.state, job.phase = CANCELLED, "cancelled"
                threading.Thread(target=_end, args=(self._process,), daemon=True).start()

    def close(self) -> None:
        """Ends the worker process; the job that it does is cancelled."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            process = self._process
            self._changed.notify_all()
        _end(process)
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    break
                job = self._waiting.popleft()
                job.state, job.phase, job.began = RUNNING, "starting", time.monotonic()
                process = self._started()
            self._follow(job, process)
        _remove(self._process)

    def _started(self) -> subprocess.Popen[str]:
        """Returns the worker process, which is started unless it runs."""
        if self._process is None or self._process.poll() is not None:
            _remove(self._process)
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                # Ctrl-C in the terminal is for the server, which ends the worker.
                start_new_session=True,
            )
        return self._process

    def _follow(self, job: Job, process: subprocess.Popen[str]) -> None:
        """Gives a job to the worker and reads its events until the last one."""
        try:
            process.stdin.write(json.dumps(job.task) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                with self._changed:
                    if not job.ended:
                        _update(job, json.loads(line))
                    if job.state in (DONE, FAILED):
                        return
        except (OSError, ValueError) as error:  # it ended, or wrote something else
            logging.warning("the worker process of the page: %s", error)
        _remove(process)
        with self._changed:
            if not job.ended:
                job.state, job.error = FAILED, f"the process that worked on it {_end_of(process)}"


def _update(job: Job, event: Mapping[str, Any]) -> None:
    for name in ("phase", "done", "total", "result", "error", "state"):
        if name in event:
            setattr(job, name, event[name])


def _end_of(process: subprocess.Popen[str]) -> str:
    """Returns how a process ended, and what to do, in words."""
    if process.returncode == -getattr(signal, "SIGKILL", 0):
        return "was killed, perhaps for want of memory: end other programs, or try again"
    return "ended: see the terminal, or try again"


def _end(process: subprocess.Popen[str] | None) -> None:
    """Asks a process to end, and kills it if it does not."""
    if process is None:
        return
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _remove(process: subprocess.Popen[str] | None) -> None:
    """Ends a process and closes its pipes; called by the thread that reads them."""
    _end(process)
    for pipe in () if process is None else (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            pipe.close()
