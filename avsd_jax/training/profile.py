"""A trace of some steps by jax.profiler, for TensorBoard or xprof."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
from absl import logging


class Profile:
    """Traces a range of steps; leaving the context writes an unfinished trace.

    Args:
        folder: where the trace is written.
        steps: first and last step; empty for none.
    """

    def __init__(self, folder: Path, steps: Sequence[int]):
        self._folder = folder
        self._first, self._last = steps or (0, 0)
        self._tracing = False

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Annotates the step that is started within the context with its number."""
        if self._first <= number <= self._last and not self._tracing:
            jax.profiler.start_trace(self._folder)
            self._tracing = True
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            yield

    def after(self, number: int, wait: Callable[[], None]) -> None:
        """Writes the trace after its last step; `wait` blocks until that step is done."""
        if self._tracing and number >= self._last:
            wait()
            self._stop()

    def _stop(self) -> None:
        if self._tracing:
            self._tracing = False
            jax.profiler.stop_trace()
            logging.info("trace of steps %d to %d: %s", self._first, self._last, self._folder)
