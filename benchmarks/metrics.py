"""Benchmark of scoring: ours, plain NumPy, and pysaliency if it is installed.

    python -m benchmarks.metrics [--map_height=360] [--map_width=640] [--map_batch=64] [--rounds=5] [--times_json=FILE]

Maps with 30 and 300 fixations, a shuffle pool of about 3000 pixels; the metrics of published tables, one by one and
together. `evaluate` is what `avsd_jax.evaluate` runs by default: float64, a batch of maps of the ground truth's size,
as 8-bit images and as arrays. The metric functions alone are timed in float32, on a batch and on a single map,
compiled. The implementations are interleaved, so that other load affects all of them alike; the shortest time per map
is shown, and its ratio to that of `evaluate` with arrays. Before timing, their values are compared.
"""

import argparse
import dataclasses
import functools
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import ndimage

from avsd_jax import metrics
from avsd_jax.common import cli
from avsd_jax.common.atomic_files import write_json

ROW = ("AUC-J", "SIM", "s-AUC", "CC", "NSS")
EVALUATE = {"evaluate, 8 bits": np.uint8, "evaluate, arrays": np.float32}
COLUMNS = (*EVALUATE, "ours, batch", "ours, one map", "pysaliency", "NumPy")
FIXATIONS = (30, 300)
POOL = 3000
# Number of maps for implementations that take one map at a time.
SINGLES = 4


class Maps(NamedTuple):
    """Maps [B, H, W] to score: float32 predictions and densities, flags of fixations and of the shuffle pool."""

    pred: np.ndarray
    density: np.ndarray
    fixations: np.ndarray
    pool: np.ndarray


def make_maps(number: int, height: int, width: int, fixations: int) -> Maps:
    """Generates smooth maps; half of the fixations where the prediction is high, half anywhere."""
    rng = np.random.default_rng(0)
    sigma = height / 24
    smooth = ndimage.gaussian_filter(rng.standard_normal((2, number, height, width)), (0, 0, sigma, sigma))
    smooth -= smooth.min(axis=(2, 3), keepdims=True)
    pred, density = ((smooth / smooth.max(axis=(2, 3), keepdims=True)) ** 2).astype(np.float32)
    marks = np.zeros((2, number, height * width), bool)
    for x, hit, pool in zip(pred.reshape(number, -1), *marks, strict=True):
        chance = x / x.sum() + 1 / x.size
        drawn = rng.choice(x.size, min(fixations + POOL, x.size), replace=False, p=chance / chance.sum())
        hit[drawn[:fixations]] = pool[drawn[fixations:]] = True
    return Maps(pred, density, *marks.reshape(2, *pred.shape))


def ours(maps: Maps, names: Sequence[str]) -> Callable[[], np.ndarray]:
    """Returns a run of our metrics over a batch, `[metric, B]`."""
    bound = 1 << (int(maps.fixations.sum(axis=(1, 2)).max()) - 1).bit_length()
    names = tuple(names)
    on_device = jax.device_put(tuple(maps))

    def run() -> np.ndarray:
        found = metrics.score(*on_device, max_fixations=bound, names=names)
        return np.stack([found[name] for name in names])

    return run


def evaluate_runs(maps: Maps, names: Sequence[str]) -> dict[str, tuple[Callable[[], np.ndarray], int]]:
    """Returns for each column the default scoring of `avsd_jax.evaluate`, in float64, and its number of maps."""
    from avsd_jax.scoring import protocols  # reads images: the functions alone are timed without
    from avsd_jax.scoring.scorer import score_maps, stacked

    bound = 1 << (int(maps.fixations.sum(axis=(1, 2)).max()) - 1).bit_length()
    protocol = dataclasses.replace(protocols.NATIVE, metrics=tuple(names))
    number = len(maps.pred)
    density, *flags = (
        stacked(list(x), number) for x in (np.round(maps.density * 255).astype(np.uint8), maps.fixations, maps.pool)
    )

    def run(values: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            found = score_maps(values, density, *flags, protocol=protocol, double=True, max_fixations=bound)
            return np.stack([found[name] for name in names])

    given = {np.uint8: np.round(maps.pred * 255).astype(np.uint8), np.float32: maps.pred}
    return {
        column: (functools.partial(run, stacked(list(given[kind]), number)), number)
        for column, kind in EVALUATE.items()
    }


def numpy_score(name: str, x: np.ndarray, density: np.ndarray, hit: np.ndarray, pool: np.ndarray) -> float:
    """Computes one metric of one map [H, W] in float64, in plain NumPy."""
    x, density = x.astype(float), density.astype(float)

    def unit(x: np.ndarray) -> np.ndarray:
        return (x - x.min()) / (x.max() - x.min())

    def rank(positive: np.ndarray, negative: np.ndarray) -> float:
        negative = np.sort(negative)
        below = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
        return float(below.mean() / 2 / len(negative))

    match name:
        case "NSS":
            return float(((x - x.mean()) / x.std(ddof=1))[hit].mean())
        case "CC":
            return float(np.corrcoef(x.ravel(), density.ravel())[0, 1])
        case "SIM":
            x, density = unit(x), unit(density)
            return float(np.minimum(x / x.sum(), density / density.sum()).sum())
        case "AUC-J":
            lowest, others = x[hit].min(), x[~hit]
            k = np.sum(x[hit] == lowest)
            bonus = np.mean(others > lowest) + k / (k + 1) * np.mean(others == lowest)
            return rank(x[hit], others) + 0.5 / hit.sum() * bonus
        case "s-AUC":
            # The normalised map in float32, as ours: otherwise values on a threshold change sides.
            bins = np.digitize(unit(x.astype(np.float32)), (np.arange(1, 11) * 0.1).astype(np.float32))
            return rank(bins[hit], bins[pool])
    raise ValueError(name)


def pysaliency_score() -> Callable[..., float] | str:
    """Returns `numpy_score` by pysaliency's functions; if it cannot be imported, a line that says why."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not hasattr(np, "trapz"):
                np.trapz = np.trapezoid  # pysaliency 0.2.22 calls a function that NumPy 2.4 removed
            import pysaliency
            from pysaliency import metrics as theirs
    except ImportError as error:
        return f'pysaliency is not timed ({error}): pip install "avsd-jax[bench]"'

    class Given(pysaliency.SaliencyMapModel):
        """Returns the given map."""

        def __init__(self, x: np.ndarray):
            super().__init__(caching=False)
            self.x = x

        def _saliency_map(self, stimulus: np.ndarray) -> np.ndarray:
            return self.x

    def fixations(mask: np.ndarray) -> Any:
        y, x = np.nonzero(mask)
        with np.errstate(invalid="ignore"):  # it multiplies uninitialised memory
            return pysaliency.Fixations.create_without_history(x, y, np.zeros(len(x), int))

    def score(name: str, x: np.ndarray, density: np.ndarray, points: Any, pool: Any, stimuli: Any) -> float:
        match name:
            case "NSS":
                return theirs.NSS(x, points.x_int, points.y_int).mean()
            case "CC":
                return theirs.CC(x, density)
            case "SIM":
                return theirs.SIM(x, density)
            case "AUC-J":
                return Given(x).AUC_Judd(stimuli, points, jitter=False)
            case "s-AUC":
                return Given(x).AUC_per_image(stimuli, points, nonfixations=pool)[0]
        raise ValueError(name)

    def prepared(x: np.ndarray, density: np.ndarray, hit: np.ndarray, pool: np.ndarray) -> Callable[[str], float]:
        # Creating its objects is not timed.
        stimuli = pysaliency.Stimuli([np.zeros((*x.shape, 3), np.uint8)])
        given = (x, density, fixations(hit), fixations(pool), stimuli)
        return lambda name: score(name, *given)

    return prepared


def runs_of(maps: Maps, names: Sequence[str], prepared: Callable | str) -> dict[str, tuple[Callable[[], Any], int]]:
    """Returns for each column a run and its number of maps."""
    few = Maps(*(x[:SINGLES] for x in maps))
    each = list(zip(*few, strict=True))
    runs: dict[str, tuple[Callable[[], Any], int]] = {
        "ours, batch": (ours(maps, names), len(maps.pred)),
        "ours, one map": (ours(Maps(*(x[:1] for x in maps)), names), 1),
        "NumPy": (lambda: [[numpy_score(name, *one) for one in each] for name in names], len(each)),
    }
    if not isinstance(prepared, str):
        scorers = [prepared(*one) for one in each]
        runs["pysaliency"] = (lambda: [[scorer(name) for scorer in scorers] for name in names], len(each))
    return runs


def check(runs: dict[str, tuple[Callable[[], Any], int]], names: Sequence[str]) -> None:
    """Compares values if the definitions agree, which also compiles and warms up."""
    values = {column: np.asarray(run()) for column, (run, _) in runs.items()}
    batch = values.pop("ours, batch")
    for column, found in values.items():
        for name, a, b in zip(names, batch, found, strict=True):
            # pysaliency ranks the values of the s-AUC directly and does not normalise maps for SIM.
            if not (column == "pysaliency" and name in ("s-AUC", "SIM")):
                limit = {"rtol": 1e-4, "atol": 1e-4, "err_msg": f"{name}, {column}"}
                np.testing.assert_allclose(a[: len(b)], b, **limit)


def checked_evaluate_runs(maps: Maps, names: Sequence[str]) -> dict[str, tuple[Callable[[], np.ndarray], int]]:
    """Returns `evaluate_runs`, after comparing their values with those of plain NumPy in float64."""
    runs = evaluate_runs(maps, names)
    density = np.round(maps.density[0] * 255).astype(float) / 255
    for column, (run, _) in runs.items():
        found = run()[:, 0]
        x = np.round(maps.pred[0] * 255).astype(float) / 255 if EVALUATE[column] is np.uint8 else maps.pred[0]
        for name, value in zip(names, found, strict=True):
            # NumPy's s-AUC here is in float32, with different thresholds.
            if name != "s-AUC":
                expected = numpy_score(name, x, density, maps.fixations[0], maps.pool[0])
                np.testing.assert_allclose(value, expected, rtol=1e-9, err_msg=f"{name}, {column}")
    return runs


def measure(runs: dict[str, tuple[Callable[[], Any], int]], rounds: int) -> dict[str, float]:
    """Measures the shortest milliseconds per map of each column."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for column, (run, number) in runs.items():
            # A short run is repeated: it would be below the resolution of clock and scheduler.
            start, done = time.perf_counter(), 0
            while done == 0 or time.perf_counter() - start < 0.02:
                run()
                done += 1
            best[column] = min(best[column], (time.perf_counter() - start) / done / number)
    return {column: 1e3 * seconds for column, seconds in best.items()}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Formats milliseconds per map as a Markdown table."""
    base = "evaluate, arrays" if "evaluate, arrays" in rows[0]["ms"] else "ours, batch"
    head = ["metric", "fixations", *COLUMNS, f"pysaliency / {base}", f"NumPy / {base}"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        times = row["ms"]
        cells = [f"{times[c]:.3f}" if c in times else "" for c in COLUMNS]
        cells += [f"{times[c] / times[base]:.1f}" if c in times else "" for c in ("pysaliency", "NumPy")]
        lines.append(f"| {row['metric']} | {row['fixations']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    parser = cli.Parser("python -m benchmarks.metrics", __doc__)
    parser.add_argument("--map_height", type=cli.at_least(16), default=360, help="height of a map (default: 360)")
    parser.add_argument("--map_width", type=cli.at_least(16), default=640, help="width of a map (default: 640)")
    parser.add_argument("--map_batch", type=cli.positive, default=64, help="maps of a batch (default: 64)")
    parser.add_argument("--rounds", type=cli.positive, default=5, help="timed runs of each implementation (default: 5)")
    parser.add_argument("--times_json", help="also write the milliseconds to this file")
    return cli.run(lambda: _measure_command_line(parser.parse_args(argv)))


def _measure_command_line(args: argparse.Namespace) -> None:
    prepared = pysaliency_score()
    rows = []
    for number in FIXATIONS:
        maps = make_maps(args.map_batch, args.map_height, args.map_width, number)
        for label, names in [*((name, (name,)) for name in ROW), ("row of five", ROW)]:
            runs = runs_of(maps, names, prepared)
            check(runs, names)
            runs |= checked_evaluate_runs(maps, names)
            rows.append({"metric": label, "fixations": number, "ms": measure(runs, args.rounds)})
    print(f"ms per map {args.map_height}x{args.map_width}, batch of {args.map_batch}, {jax.devices()[0].device_kind}")
    print(table(rows))
    if isinstance(prepared, str):
        print(prepared)
    if args.times_json:
        write_json(
            Path(args.times_json), {"size": [args.map_height, args.map_width], "batch": args.map_batch, "rows": rows}
        )


if __name__ == "__main__":
    sys.exit(main())
