"""Metrics.

Maps of 360x640 with 30 or 300 fixations and a shuffle pool of 3000, by `benchmarks.metrics`, which compares the values
of all implementations before it times them. "evaluate" is what `avsd_jax.evaluate` runs by default, in float64, on a
batch of maps as 8-bit images or as arrays; the others are the metric functions alone, in float32: compiled ones of ours
on a batch and on single maps, pysaliency's and plain NumPy's on single maps.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks import metrics
from benchmarks.measure import Row, Run, Setting, compare

PEER = "pysaliency"


def rows(setting: Setting) -> Iterator[Row]:
    """Yields the five metrics of published tables together, and each by itself."""
    prepared = metrics.pysaliency_score()
    missing = {PEER: "needs pysaliency"} if isinstance(prepared, str) else {}
    against = "NumPy" if missing else PEER
    size = setting.pick(64, 16), 360, 640
    for number in setting.pick(metrics.FIXATIONS, metrics.FIXATIONS[:1]):
        maps = metrics.make_maps(*size, number)
        runs = metrics.runs_of(maps, metrics.ROW, prepared)
        metrics.check(runs, metrics.ROW)
        not_run = dict(missing)
        try:
            runs = metrics.checked_evaluate_runs(maps, metrics.ROW) | runs
        except ImportError as error:
            not_run["evaluate"] = f"needs {error.name}"
        title = f"five metrics, {number} fixations"
        yield from compare(setting, title, _as_runs(runs), unit="map", against=against, not_run=not_run)
    maps, each = metrics.make_maps(*size, metrics.FIXATIONS[0]), {}
    for name in metrics.ROW:
        runs = metrics.runs_of(maps, (name,), prepared)
        kept = {column: runs[column] for column in ("ours, batch", against) if column in runs}
        for column, run in _as_runs(kept, name, against).items():
            each[f"{name}, {column}"] = run
    yield from compare(setting, f"each metric, {metrics.FIXATIONS[0]} fixations", each, unit="map", not_run=missing)


def _as_runs(runs: Mapping[str, tuple[Callable[[], Any], int]], metric: str = "", against: str = "") -> dict[str, Run]:
    """Returns the benchmark's runs, ours of one metric beside the peer's of the same."""
    found = {}
    for column, (call, maps) in runs.items():
        ours = column.startswith(("ours", "evaluate"))
        headline = f"metrics: {metric or column}" if ours and (metric or column != "ours, one map") else ""
        peer = f"{metric}, {against}" if ours and metric else ""
        found[column] = Run(call, units=maps, headline=headline, against=peer)
    return found
