"""The process that computes for the page: it reads tasks as lines of JSON and writes events as lines of JSON.

A task has a `kind`, a name of `TASKS`, and that function's arguments. Its events have any of `phase`, `done` and
`total`; the last one has a `state`: "done" with the `result`, or "failed" with the `error`. The process ends with its
parent.
"""

import avsd_jax.common.huge_pages  # noqa: F401  # isort: skip

import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, TextIO

from avsd_jax.common.programs import keep_programs
from avsd_jax.errors import InputError, StorageError, storage_error
from avsd_jax.web import copying, predicting, proposing, scoring
from avsd_jax.web.reports import Report

# Each is called with a `Report` and the arguments of its task, and returns what JSON can hold.
TASKS: dict[str, Callable[..., Mapping[str, Any]]] = {
    "predict": predicting.run,
    "copy": copying.run,
    "propose": proposing.run,
    "score": scoring.run,
}


def main() -> None:
    """Works until the parent is gone."""
    signal.signal(signal.SIGTERM, _leave)
    # Whatever libraries print goes to stderr.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    tasks: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(tasks,), daemon=True).start()
    keep_programs()
    while True:
        _do(json.loads(tasks.get()), events)


def _leave(signum: int, frame: FrameType | None) -> None:
    """Ends like an exception, so that what is written half is removed on the way; once."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signum)


def _read(tasks: "queue.SimpleQueue[str]") -> None:
    for line in sys.stdin:
        tasks.put(line)
    os.kill(os.getpid(), signal.SIGTERM)


def _do(task: dict[str, Any], events: TextIO) -> None:
    report = Report(events)
    try:
        result = TASKS[task.pop("kind")](report, **task)
        report.send(state="done", phase="done", result=result)
    except (InputError, StorageError) as error:
        report.send(state="failed", error=str(error))
    except Exception as error:
        storage = storage_error(error)
        if storage is None:
            traceback.print_exc()
        words = storage or f"an error of the program ({type(error).__name__}): the terminal shows it in full"
        report.send(state="failed", error=str(words))


if __name__ == "__main__":
    main()
