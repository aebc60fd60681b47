"""Runs the benchmarks of speed and memory: ours beside its peers, taking turns in one process.

    python -m benchmarks.run [--quick] [--device=cpu|gpu] [--cases=a,b] [--out=FILE.json | --publish]
    python -m benchmarks.run --render FILE.json ... [--page=docs/performance.md]

It prints tables in Markdown, and writes the same as JSON to --out after every case. --quick takes five minutes at most.
--publish writes the record to `benchmarks/results`, where cases that are not run keep what the same command measured
on the same machine before, and then the page of the records there, as --render does.
It needs JAX, Flax and Optax; PyTorch and pysaliency are measured where they are installed, and a case that needs
more says so in its row.

A case is a file `benchmarks/cases/<name>.py`, found by its name:

    '''Title of its section.

    Text of the section: what is measured, at which size, and what is not.
    '''

    def rows(setting: Setting) -> Iterator[Row]:
        pair = measure.compiled(function, *arguments)          # a program, its compile seconds and memory
        runs = {
            "ours": Run(lambda: pair.call(*arguments), units=8, values=pair.values, headline="ViNet forward"),
            "PyTorch, eager": Run(...),                        # wait=torch.cuda.synchronize-like on a GPU
        }
        yield from compare(setting, "ViNet, 8 clips", runs, unit="clip", against="PyTorch, eager")
        yield Row("another table", "ours", values={"error": 1e-6})         # a figure without a time
        yield Row("another table", "with audio", not_run="needs av")       # what cannot be measured here

All of it is in `benchmarks.measure`. A case has to be importable with JAX, Flax and Optax alone (`benchmarks.bare`
supplies the packages that annotations name; the runner imports it first): import anything else where it is used, by
`optional`, and yield a row with `not_run` if it is missing. It reads `setting`: device ("cpu" or "gpu"), quick (fewer
sizes), rounds and budget (`compare` obeys them) and seed. A group in --quick should take 10 to 20 s. `headline` puts a
row into the summary of the page, where rows of both devices with the same headline share a line. A case with
`QUICK = False` is left out by --quick unless --cases names it.
"""

import avsd_jax.common.huge_pages  # noqa: F401  # isort: skip

import argparse
import gc
import importlib
import json
import os
import pkgutil
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import jax

from avsd_jax.common import cli
from avsd_jax.errors import InputError
from benchmarks import bare, machine, page
from benchmarks.measure import Row, Setting

ROUNDS, BUDGET = {False: 7, True: 3}, {False: 20.0, True: 8.0}
PAGE, RESULTS = Path("docs/performance.md"), Path("benchmarks/results")


def available() -> list[str]:
    """Returns the names of all cases."""
    path = importlib.import_module("benchmarks.cases").__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))


def chosen(quick: bool) -> list[str]:
    """Returns the names of the cases that are run if none are named: with `quick` those that do not opt out of it."""
    if not quick:
        return available()
    return [name for name in available() if getattr(_module(name), "QUICK", True)]


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.cases.{name}")


def choose_device(name: str | None) -> str:
    """Lets JAX compute on a device, "cpu" or "gpu", by default the one that it finds; returns its name.

    Raises:
        InputError: JAX finds no GPU.
    """
    # By default JAX would take three quarters of a GPU's memory for itself.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.6")
    if name == "cpu":
        jax.config.update("jax_platforms", "cpu")
    found = jax.default_backend()
    if name == "gpu" and found != "gpu":
        raise InputError('JAX finds no GPU: install "jax[cuda12]" or "jax[cuda13]", or give --device=cpu')
    return found


def run_case(name: str, setting: Setting) -> dict[str, Any]:
    """Runs a case; returns its title, text, seconds and rows, the last of which tells of an error, if there is one."""
    module = _module(name)
    title, _, text = module.__doc__.strip().partition("\n")
    start, rows, failed = time.perf_counter(), [], False
    try:
        rows.extend(module.rows(setting))
    except Exception as error:  # the others are still worth their time
        traceback.print_exc()
        rows.append(Row("failed", name, not_run=f"{type(error).__name__}"))
        failed = True
    jax.clear_caches()
    gc.collect()
    return {
        "title": title.rstrip("."),
        "text": text.strip(),
        "seconds": round(time.perf_counter() - start, 1),
        "failed": failed,
        "rows": [row.to_json() for row in rows],
    }


def run(
    names: Sequence[str], setting: Setting, out: Path | None = None, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Runs cases, prints their tables and returns the record of all, which is also written to `out`.

    Args:
        names: of the cases.
        setting: for all of them.
        out: file to write after each case; None for none.
        before: an earlier record, whose other cases are kept if it has the same setting, machine and versions.
    """
    what = {"device": setting.device, "quick": setting.quick, "rounds": setting.rounds, "seed": setting.seed}
    record = {"setting": what, "machine": machine.record(), "stand_ins": bare.MISSING, "cases": {}}
    if before and before["setting"] == what and machine.same(before["machine"], record["machine"]):
        record["cases"] |= before["cases"]
    print(page.machine_line(record["machine"]), flush=True)
    for name in names:
        record["cases"][name] = case = run_case(name, setting)
        tables = page.case_tables([Row.from_json(row) for row in case["rows"]])
        print(f"\n## {case['title']} ({case['seconds']:.0f} s)\n\n{tables}", flush=True)
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            record["cases"] = dict(sorted(record["cases"].items()))
            out.write_text(json.dumps(record, indent=1) + "\n")
    return record


def load(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Returns the records of files.

    Raises:
        InputError: a file is no record of this command, or two are of the same device.
    """
    records: dict[str, dict[str, Any]] = {}
    for file in files:
        try:
            record = json.loads(file.read_text())
            device = record["setting"]["device"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} is no record of benchmarks.run ({error}): give files that --out wrote") from error
        if device in records:
            raise InputError(f"{file} is a second record of the {device}: give one of each device")
        records[device] = record
    return list(records.values())


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses a command line.

    Raises:
        InputError: an option is unknown or has a wrong value, or there is no such case.
    """
    parser = cli.Parser("python -m benchmarks.run", __doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer rounds, five minutes")
    parser.add_argument("--device", choices=("cpu", "gpu"), help="where to compute (default: what JAX finds)")
    parser.add_argument("--cases", type=lambda text: text.split(","), help=f"default: all of {', '.join(available())}")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--publish", action="store_true", help=f"write {RESULTS}/DEVICE.json and --page")
    parser.add_argument("--render", nargs="+", type=Path, metavar="FILE.json", help="measure nothing, write --page")
    parser.add_argument("--page", type=Path, default=PAGE, help=f"Markdown file to write (default: {PAGE})")
    args = parser.parse_args(argv)
    unknown = [name for name in args.cases or () if name not in available()]
    if unknown:
        raise InputError(f"unknown case {unknown[0]!r}: choose of {', '.join(available())}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status, 1 if a case failed."""
    return cli.run(lambda: _command(parse(argv)))


def _command(args: argparse.Namespace) -> int:
    if args.render:
        args.page.write_text(page.render(load(args.render)))
        return 0
    setting = Setting(choose_device(args.device), args.quick, ROUNDS[args.quick], BUDGET[args.quick])
    out = RESULTS / f"{setting.device}.json" if args.publish else args.out
    before = load([out])[0] if args.publish and out.exists() else None
    record = run(args.cases or chosen(args.quick), setting, out, before)
    if args.publish:
        args.page.write_text(page.render(load(sorted(RESULTS.glob("*.json")))))
    return cli.FAILED if any(case["failed"] for case in record["cases"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
