"""Steps whose metrics are still on the devices, and means and speed since the last line of the log."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

# Metrics of at most this many steps are held, with their clips, before they are fetched together.
_MOST = 256


class _Step(NamedTuple):
    number: int
    clips: list[str]
    metrics: Any


class Window:
    """Holds the metrics of steps on the devices until they are needed, so that the loop does not wait for them.

    Args:
        fetch: copies metrics to host memory.
        check: takes the metrics, number and clips of a step, and raises if they are not finite.
    """

    def __init__(self, fetch: Callable[[Any], Any], check: Callable[[Mapping[str, Any], int, Sequence[str]], None]):
        self._fetch, self._check = fetch, check
        self._pending: list[_Step] = []
        self.restart()

    def restart(self) -> None:
        """Resets the means and the clock for the next line of the log."""
        self._sums: dict[str, float] = {}
        self._count = 0
        self.restart_clock()

    def restart_clock(self) -> None:
        """Resets the counts of steps and seconds."""
        self._since, self._timed = time.monotonic(), 0

    def add(self, number: int, clips: list[str], metrics: Any) -> None:
        """Adds a step that may still be running; waits for the one before it, so that at most two are running.

        More would only take memory: the devices are never idle.
        """
        if self._pending:
            jax.block_until_ready(self._pending[-1].metrics)
        self._pending.append(_Step(number, clips, metrics))
        self._timed += 1

    def is_full(self) -> bool:
        """Returns whether no further step should be added before `look`."""
        return len(self._pending) >= _MOST

    def look(self) -> None:
        """Fetches the metrics of all added steps and checks them, the earliest first."""
        steps, self._pending = self._pending, []
        for step, metrics in zip(steps, self._fetch([step.metrics for step in steps]), strict=True):
            self._check(metrics, step.number, step.clips)
            self._count += 1
            for name, value in metrics.items():
                if name not in ("finite", "damaged"):
                    self._sums[name] = self._sums.get(name, 0.0) + float(value)

    def means(self) -> dict[str, float]:
        """Returns the mean of each scalar over the checked steps."""
        return {name: value / self._count for name, value in self._sums.items()}

    def speed(self, batch_size: int) -> dict[str, float]:
        """Returns steps and examples per second since the clock was restarted."""
        rate = self._timed / (time.monotonic() - self._since)
        return {"steps_per_second": rate, "examples_per_second": batch_size * rate}

    @contextlib.contextmanager
    def clock_stopped(self) -> Iterator[None]:
        """Stops the clock within the context: saving and scoring do not count as training."""
        began = time.monotonic()
        yield
        self._since += time.monotonic() - began
