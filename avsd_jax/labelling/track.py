"""The labels of a video's frames while a person makes them: ranges are set, undone and done again."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int8

from avsd_jax.errors import InputError

UNLABELLED, INCONSISTENT, CONSISTENT, UNSURE = -1, 0, 1, 2
NAMES = {UNLABELLED: "unlabelled", INCONSISTENT: "inconsistent", CONSISTENT: "consistent", UNSURE: "unsure"}


class Run(NamedTuple):
    """Frames `start` to `stop` (from 0, exclusive) and their label."""

    start: int
    stop: int
    label: int


class _Step(NamedTuple):
    """An edit, and what was there before it."""

    runs: tuple[Run, ...]
    before: tuple[Run, ...]


def runs_of(labels: Int8[np.ndarray, " n"], first: int = 0) -> list[Run]:
    """Returns the longest runs of equal labels, in order, unlabelled ones included.

    Args:
        labels: per frame.
        first: number of the first frame.
    """
    if not len(labels):
        return []
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    return [Run(first + a, first + b, int(labels[a])) for a, b in zip(edges, edges[1:], strict=False)]


def checked_runs(runs: object, num_frames: int) -> tuple[Run, ...]:
    """Checks the ranges of an edit that came from elsewhere.

    Args:
        runs: a list of `[start, stop, label]`.
        num_frames: of the video.

    Raises:
        InputError: they are not at least one, in order, without overlap, within the video, or a label is unknown.
    """
    if not isinstance(runs, list | tuple) or not runs:
        raise InputError("an edit has no list of runs: give at least one [start, stop, label]")
    checked: list[Run] = []
    for run in runs:
        whole = isinstance(run, list | tuple) and len(run) == 3 and all(type(value) is int for value in run)
        if not whole or run[2] not in NAMES:
            raise InputError(f"{run!r:.80} is no run of labels: give [start, stop, label], label -1, 0, 1 or 2")
        if not (checked[-1].stop if checked else 0) <= run[0] < run[1] <= num_frames:
            raise InputError(
                f"the run {list(run)} of a video of {num_frames} frames is empty, beyond its end or out of order: give "
                "runs in order, counted from 0, without overlap"
            )
        checked.append(Run(*run))
    return tuple(checked)


class Track:
    """Labels per frame, -1, 0, 1 or 2, and the edits that led to them.

    Args:
        num_frames: of the video.

    Attributes:
        labels: int8 [num_frames]; changed by the methods only.
    """

    def __init__(self, num_frames: int):
        self.labels: Int8[np.ndarray, " n"] = np.full(num_frames, UNLABELLED, np.int8)
        self._done: list[_Step] = []
        self._undone: list[tuple[Run, ...]] = []

    def copy(self) -> "Track":
        """Returns a track that changes independently."""
        other = Track(0)
        other.labels, other._done, other._undone = self.labels.copy(), self._done.copy(), self._undone.copy()
        return other

    def set(self, runs: object) -> None:
        """Sets ranges, as one edit; what was undone is forgotten.

        Args:
            runs: a list of `[start, stop, label]`.

        Raises:
            InputError: see `checked_runs`.
        """
        self._do(checked_runs(runs, len(self.labels)))
        self._undone.clear()

    def undo(self) -> None:
        """Takes the last edit back.

        Raises:
            InputError: there is none.
        """
        if not self._done:
            raise InputError("there is no edit to undo: reload the labels")
        step = self._done.pop()
        _put(self.labels, step.before)
        self._undone.append(step.runs)

    def redo(self) -> None:
        """Does the edit again that was undone last.

        Raises:
            InputError: there is none.
        """
        if not self._undone:
            raise InputError("there is no undone edit: reload the labels")
        self._do(self._undone.pop())

    def history(self, most: int) -> tuple[list[Run], list[tuple[Run, ...]], list[tuple[Run, ...]]]:
        """Returns what another program needs to go on from here, with undo and redo.

        Args:
            most: the number of edits that can be undone there.

        Returns:
            `(base, done, undone)`: the labelled runs before the last `most` edits, these edits in order, and those that
            were undone, the next one to do again last.
        """
        done = self._done[len(self._done) - min(most, len(self._done)) :]
        base = self.labels.copy()
        for step in reversed(done):
            _put(base, step.before)
        labelled = [run for run in runs_of(base) if run.label != UNLABELLED]
        return labelled, [step.runs for step in done], list(self._undone)

    def _do(self, runs: tuple[Run, ...]) -> None:
        before = tuple(old for run in runs for old in runs_of(self.labels[run.start : run.stop], run.start))
        _put(self.labels, runs)
        self._done.append(_Step(runs, before))


def _put(labels: Int8[np.ndarray, " n"], runs: Sequence[Run]) -> None:
    for run in runs:
        labels[run.start : run.stop] = run.label
