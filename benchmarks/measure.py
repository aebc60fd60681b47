"""What a case measures with: runs that take turns, compiled programs, and the rows that come of it."""

import contextlib
import ctypes
import dataclasses
import importlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from avsd_jax.common import huge_pages
from avsd_jax.common.compiler import compiler_options
from benchmarks import bare  # before whatever a case imports

# A turn repeats a short run for so many seconds: one alone is below the resolution of clock and scheduler.
TURN = 0.05


def optional(name: str) -> Any:
    """Imports a package; None if it, or what it needs, is not installed."""
    if name in bare.MISSING:
        return None
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a case is run with.

    Attributes:
        device: "cpu" or "gpu", where JAX and PyTorch compute.
        quick: sizes and rounds for a first impression: all cases together take five minutes.
        rounds: how often each run takes its turn.
        budget: seconds after which a group begins no further round, once it has had `least`.
        seed: of random inputs and weights.
    """

    device: str = "cpu"
    quick: bool = False
    rounds: int = 7
    budget: float = 40.0
    seed: int = 0

    @property
    def least(self) -> int:
        """Returns the number of rounds that a group has in any case."""
        return min(self.rounds, 2 if self.quick else 3)

    def pick(self, full: Any, quick: Any) -> Any:
        """Returns one of two values, as in `setting.pick(32, 8)`."""
        return quick if self.quick else full


class Spread(NamedTuple):
    """Median, smallest and largest value over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Sums up the values of all rounds."""
        return cls(statistics.median(values), min(values), max(values))


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        group: the table; rows of a group follow each other.
        name: what was measured, as in "ours, folded" or "PyTorch, eager".
        unit: what the time is of, as in "clip".
        ms: milliseconds per unit.
        against: the row of the group that this one is compared with.
        ratio: how many times as fast as that row, paired by round.
        rounds: how many there were.
        values: further columns, by title: numbers or short texts.
        headline: the line of the page's summary that shows this row; empty for none.
        not_run: why there is no measurement, as in "needs torch".
    """

    group: str
    name: str
    unit: str = ""
    ms: Spread | None = None
    against: str = ""
    ratio: Spread | None = None
    rounds: int = 0
    values: Mapping[str, float | str] = dataclasses.field(default_factory=dict)
    headline: str = ""
    not_run: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the fields that are set, as JSON types."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields = {name: value._asdict() if isinstance(value, Spread) else value for name, value in fields.items()}
        return {name: dict(value) if name == "values" else value for name, value in fields.items() if value}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Row":
        """Returns the row of `to_json`."""
        spreads = {name: Spread(**record[name]) for name in ("ms", "ratio") if name in record}
        return cls(**{**record, **spreads})


@dataclasses.dataclass(frozen=True)
class Run:
    """One of the implementations that take turns.

    Attributes:
        call: does the work once, and may return before the device has finished.
        wait: takes the result of the last call of a turn and returns when it is there.
        units: how many of the group's unit a call computes, as the clips of a batch.
        values: further columns of its row.
        headline: see `Row`.
        gflop: of a unit, two a multiply-add; its row then has the rate.
        against: the run that this one is compared with, if it is not that of the whole group.
        before: called when a turn begins, and not timed, so that the turn finds what it would after a turn of its own:
            memory that others freed may have left the machine.
        huge_pages: its turns are as in a process that asks for huge pages, as the commands do that import
            `avsd_jax.common.huge_pages`, and not as in one that does not.
    """

    call: Callable[[], Any]
    wait: Callable[[Any], Any] = jax.block_until_ready
    units: float = 1
    values: Mapping[str, float | str] = dataclasses.field(default_factory=dict)
    headline: str = ""
    gflop: float = 0
    against: str = ""
    before: Callable[[], Any] | None = None
    huge_pages: bool = False


def with_huge_pages(runs: Mapping[str, Run], name: str) -> dict[str, Run]:
    """Returns a peer's run once more, in a row of its own, with huge pages; none where this process has none."""
    if not huge_pages.asked_for() or name not in runs:
        return {}
    return {f"{name}, huge pages": dataclasses.replace(runs[name], huge_pages=True)}


@contextlib.contextmanager
def _pages(huge: bool) -> Iterator[None]:
    """Withholds huge pages within the context if this process has asked for them, and a run shall have none."""
    if huge or not huge_pages.asked_for():
        yield
        return
    _withhold(True)
    try:
        yield
    finally:
        _withhold(False)


def _withhold(withheld: bool) -> None:
    """Lets Linux give this process no huge pages from now on, whatever it asks for, or give them again."""
    set_thp_disable, libc = 41, ctypes.CDLL(None, use_errno=True)
    if libc.prctl(set_thp_disable, *map(ctypes.c_ulong, (withheld, 0, 0, 0))):
        raise OSError(ctypes.get_errno(), "prctl")


def take_turns(setting: Setting, runs: Mapping[str, Run]) -> dict[str, list[float]]:
    """Measures the seconds per unit of each run, round by round.

    Every run is called once before, and not timed. Each round begins with another one, so that none always follows the
    same neighbour.
    """
    for run in runs.values():
        with _pages(run.huge_pages):
            run.wait(run.call())
    names, seconds = list(runs), {name: [] for name in runs}
    began = time.perf_counter()
    for number in range(setting.rounds):
        if number >= setting.least and time.perf_counter() - began > setting.budget:
            break
        first = number % len(names)
        for name in names[first:] + names[:first]:
            with _pages(runs[name].huge_pages):
                seconds[name].append(_turn(runs[name]))
    return seconds


def _turn(run: Run) -> float:
    if run.before:
        run.wait(run.before())
    start, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - start < TURN:
        result = run.call()
        calls += 1
        if calls & (calls - 1) == 0:  # calls may only queue their work: a long one is noticed here
            run.wait(result)
    run.wait(result)
    return (time.perf_counter() - start) / calls / run.units


def compare(
    setting: Setting,
    group: str,
    runs: Mapping[str, Run],
    *,
    unit: str,
    against: str = "",
    not_run: Mapping[str, str] | None = None,
) -> Iterator[Row]:
    """Lets runs take turns and yields their rows, and then those of what was not run.

    Args:
        setting: as the case got it.
        group: title of the table.
        runs: by the name of their rows.
        unit: what the time is of, as in "clip".
        against: the run that the others are compared with, the peer; no ratios if it is not among the runs.
        not_run: by name, what is missing, as in "needs torch".
    """
    seconds = take_turns(setting, runs) if runs else {}
    for name, run in runs.items():
        own, peer = seconds[name], run.against or against
        compared = peer in seconds and peer != name
        ratio = Spread.of([b / a for a, b in zip(own, seconds[peer], strict=True)]) if compared else None
        time_each = Spread.of([1e3 * x for x in own])
        rate = {"TFLOP/s": run.gflop / time_each.median} if run.gflop else {}
        values = {**rate, **run.values}
        yield Row(group, name, unit, time_each, peer if ratio else "", ratio, len(own), values, run.headline)
    for name, reason in (not_run or {}).items():
        yield Row(group, name, not_run=reason)


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Calls a function once; returns the seconds that it took and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


class Compiled(NamedTuple):
    """A compiled program.

    Attributes:
        call: runs it, with the arguments that it was compiled for.
        seconds: to trace and to compile it, without any cache.
        megabytes: its arguments, results and scratch on the device, by the compiler's account; NaN if it has none.
    """

    call: Any
    seconds: float
    megabytes: float

    @property
    def values(self) -> dict[str, float]:
        """Returns both as columns of a row."""
        return {"compile s": self.seconds, "memory MB": self.megabytes}


@contextlib.contextmanager
def no_compilation_cache() -> Iterator[None]:
    """Compiles anew whatever is compiled within the context, wherever there is a persistent cache."""
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)


def compiled(function: Callable[..., Any], *arguments: Any, **options: Any) -> Compiled:
    """Compiles a function of arrays, with the options of the library's programs; `options` are those of `jax.jit`."""
    options = {"compiler_options": compiler_options(), **options}
    with no_compilation_cache():
        seconds, program = timed(lambda: jax.jit(function, **options).lower(*arguments).compile())
    return Compiled(program, seconds, memory_of(program))


def memory_of(program: Any) -> float:
    """Returns the megabytes that a compiled program needs on its device: arguments, results and scratch."""
    found = program.memory_analysis()
    if found is None:
        return float("nan")
    parts = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    return (sum(getattr(found, part) for part in parts) - found.alias_size_in_bytes) / 1e6
