"""Scalars of a run: append-only JSON lines and, if requested, TensorBoard event files.

`MetricWriter` has the methods of `clu.metric_writers.MetricWriter` that the training loop calls, so a clu writer can
be injected in its place; clu's own writers need TensorFlow.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import scalar

from avsd_jax.common import atomic_files
from avsd_jax.errors import storage_error


class MetricWriter:
    """Writes `metrics.jsonl` and TensorBoard events into a folder.

    A run that resumes at step S drops the lines of later steps first, so that each step occurs once.

    Raises:
        StorageError: here and when scalars are written, the disk is full or read-only; no partial line is left.
    """

    def __init__(self, directory: str | Path, *, resume_step: int = 0, tensorboard: bool = True):
        directory = Path(directory)
        atomic_files.make_folder(directory)
        self._path = directory / "metrics.jsonl"
        if self._path.exists():
            kept = [line for line in read_scalars(self._path) if line["step"] <= resume_step]
            atomic_files.write_text(self._path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file, self._board = None, None
        with self._storage_errors():
            self._file = self._path.open("ab")
            if tensorboard:
                # Not SummaryWriter: its thread dies on a full disk, and later writes then block forever.
                # The name that TensorBoard looks for, and the process, because a run may start again within a second.
                name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
                self._board = RecordWriter(str(directory / name))
                self._add_event(file_version="brain.Event:2")
                self._add_event(session_log=SessionLog(status=SessionLog.START), step=resume_step + 1)
                self._board.flush()

    def _add_event(self, **content: Any) -> None:
        self._board.write(Event(wall_time=time.time(), **content).SerializeToString())

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Appends the scalars of one step."""
        values = {name: float(value) for name, value in scalars.items()}
        whole = self._path.stat().st_size
        with self._storage_errors():
            try:
                self._file.write((json.dumps({"step": step, **values}) + "\n").encode())
                self._file.flush()
            except OSError:
                self._let_go()
                os.truncate(self._path, whole)
                raise
            if self._board is not None:
                for name, value in values.items():
                    self._add_event(step=step, summary=scalar(name, value))
                self._board.flush()

    @contextlib.contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._let_go()
            storage = storage_error(error, self._path.parent)
            if storage is None:
                raise
            raise storage from error

    def _let_go(self) -> None:
        """Closes the files, ignoring failed writes."""
        board, self._board = self._board, None
        for file in (self._file, board):
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()

    def flush(self) -> None:
        """Flushes everything to the operating system."""
        with self._storage_errors():
            if self._file is not None and not self._file.closed:
                self._file.flush()
            if self._board is not None:
                self._board.flush()

    def close(self) -> None:
        """Flushes and closes the files."""
        self.flush()
        self._let_go()


class NoWriter:
    """A writer that drops its scalars, for all processes but the first."""

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Drops the scalars."""

    def close(self) -> None:
        """Does nothing."""


def read_scalars(path: str | Path) -> list[dict[str, Any]]:
    """Reads the lines of `metrics.jsonl`; damaged or incomplete lines are skipped."""
    lines = []
    for text in Path(path).read_bytes().split(b"\n"):
        try:
            line = json.loads(text)
        except ValueError:  # not JSON, or not text
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines
