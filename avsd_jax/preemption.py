"""A request to stop (SIGTERM), seen by all processes of a run at the same step."""

import signal
from types import FrameType

import jax
from jax.experimental import multihost_utils


class Preemption:
    """Context in which SIGTERM asks the training loop to save and end instead of killing it."""

    def __init__(self) -> None:
        self._asked = False
        self._previous: signal.Handlers | None = None

    def __enter__(self) -> "Preemption":
        # With several processes jax.distributed has a handler of its own, which the sync point reads.
        if jax.process_count() == 1:
            self._previous = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        self._asked = True

    def reached(self, step: int) -> bool:
        """Whether the run is to stop after `step`; every process answers alike."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._asked
