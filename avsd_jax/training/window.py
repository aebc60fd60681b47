"""The steps since the last look at their metrics, and the means and speed since the last line of the log."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

# So many steps are looked at together at most: their metrics and clips are held until then.
_MOST = 256


class _Step(NamedTuple):
    number: int
    clips: list[str]
    metrics: Any


class Window:
    """Holds the metrics of steps on the devices until they are asked for; the loop need not wait for any of them.

    Args:
        fetch: copies metrics to host memory.
        check: takes the metrics, number and clips of a step, and raises where they are not finite.
    """

    def __init__(self, fetch: Callable[[Any], Any], check: Callable[[Mapping[str, Any], int, Sequence[str]], None]):
        self._fetch, self._check = fetch, check
        self._pending: list[_Step] = []
        self.restart()

    def restart(self) -> None:
        """Begins the next line of the log: its means and its clock."""
        self._sums: dict[str, float] = {}
        self._count = 0
        self.restart_clock()

    def restart_clock(self) -> None:
        """Counts steps and seconds from now on."""
        self._since, self._timed = time.monotonic(), 0

    def add(self, number: int, clips: list[str], metrics: Any) -> None:
        """Adds a step that may still be running; waits for the one before it, so that two at most are under way.

        More would only hold memory: the devices are never idle.
        """
        if self._pending:
            jax.block_until_ready(self._pending[-1].metrics)
        self._pending.append(_Step(number, clips, metrics))
        self._timed += 1

    def is_full(self) -> bool:
        """Returns whether the metrics of no further step should be held."""
        return len(self._pending) >= _MOST

    def look(self) -> None:
        """Waits for all steps added and checks them, the earliest first."""
        steps, self._pending = self._pending, []
        for step, metrics in zip(steps, self._fetch([step.metrics for step in steps]), strict=True):
            self._check(metrics, step.number, step.clips)
            self._count += 1
            for name, value in metrics.items():
                if name not in ("finite", "damaged"):
                    self._sums[name] = self._sums.get(name, 0.0) + float(value)

    def means(self) -> dict[str, float]:
        """Returns the mean of each scalar over the steps looked at."""
        return {name: value / self._count for name, value in self._sums.items()}

    def speed(self, batch_size: int) -> dict[str, float]:
        """Returns steps and examples per second since the clock was restarted."""
        rate = self._timed / (time.monotonic() - self._since)
        return {"steps_per_second": rate, "examples_per_second": batch_size * rate}

    @contextlib.contextmanager
    def clock_stopped(self) -> Iterator[None]:
        """Context whose seconds do not count: saving and scoring are not training."""
        began = time.monotonic()
        yield
        self._since += time.monotonic() - began
