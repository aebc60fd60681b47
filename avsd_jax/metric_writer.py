"""Scalars of a run: append-only JSON lines and, where wanted, TensorBoard event files.

`MetricWriter` has the methods of `clu.metric_writers.MetricWriter` that the training loop calls, so a clu writer can
be injected in its place; clu's own writers need TensorFlow.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter


class MetricWriter:
    """Writes `metrics.jsonl` and TensorBoard events into a folder.

    A run that resumes at step S drops the lines of later steps first, so each step stands once.
    """

    def __init__(self, directory: str | Path, *, resume_step: int = 0, tensorboard: bool = True):
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "metrics.jsonl"
        if self._path.exists():
            kept = [line for line in read_scalars(self._path) if line["step"] <= resume_step]
            self._path.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._file = self._path.open("a")
        self._board = SummaryWriter(str(directory), purge_step=resume_step + 1) if tensorboard else None

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Appends the scalars of one step."""
        values = {name: float(value) for name, value in scalars.items()}
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def flush(self) -> None:
        """Hands everything to the operating system."""
        self._file.flush()
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        """Flushes and closes the files."""
        self.flush()
        self._file.close()
        if self._board is not None:
            self._board.close()


class NoWriter:
    """Takes scalars and drops them: what the processes beside the first one write to."""

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Drops the scalars."""

    def close(self) -> None:
        """Does nothing."""


def read_scalars(path: str | Path) -> list[dict[str, Any]]:
    """Reads the lines of `metrics.jsonl`; a last line that a kill cut short is left out."""
    lines = []
    for line in Path(path).read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines
