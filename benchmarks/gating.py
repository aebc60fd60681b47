"""Benchmark of gating by audio-visual consistency: the demo's comparison over several seeds, mean and spread.

    python -m benchmarks.gating [--model=avinet|stavis|stanet] [--workdir=runs/gating_MODEL] [--seeds=0,1,2]
                                [--config=configs/MODEL.py:demo] [--config.FIELD=VALUE ...]

Each seed is a whole run, as of `avsd_jax.main`, in `<workdir>/seed_<n>`: training and sampling start from the seed, the
dataset is the same. An interrupted run resumes. Writes `gating.json` and `gating.md`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from avsd_jax.common import logs
from avsd_jax.experiment import command_line
from avsd_jax.experiment.run import run

GROUPS = ("all", "consistent", "inconsistent")
METRICS = ("CC", "NSS", "SIM", "KL", "AUC-J", "s-AUC")

MODELS = ("avinet", "stavis", "stanet")


def summarise(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Computes mean and sample deviation over seeds: `{label: {group: {metric: [mean, std]}}}`, and AVC accuracy."""
    result: dict[str, Any] = {}
    for i, row in enumerate(records[0]["rows"]):
        runs = [record["rows"][i]["conditions"]["real"] for record in records]
        result[row["label"]] = {
            group: {m: spread([run["scores"][group][m] for run in runs]) for m in METRICS} for group in GROUPS
        }
        accuracies = [run["avc"]["accuracy"] for run in runs if run["avc"] and run["avc"]["accuracy"] is not None]
        if len(accuracies) == len(runs):
            result[row["label"]]["avc_accuracy"] = spread(accuracies)
    return result


def spread(values: Sequence[float]) -> list[float]:
    """Returns `[mean, sample standard deviation]`; the deviation of one value is 0."""
    return [float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0]


def table(summary: dict[str, Any]) -> str:
    """Formats the summary as a Markdown table, mean ± standard deviation."""
    head = [f"{metric} {group}" for group in GROUPS for metric in ("CC", "NSS")]
    lines = ["| row | " + " | ".join(head) + " | AVC accuracy |", "|---" * (len(head) + 2) + "|"]
    for label, row in summary.items():
        cells = [row[group][metric] for group in GROUPS for metric in ("CC", "NSS")]
        cells.append(row.get("avc_accuracy"))
        shown = [f"{cell[0]:.3f} ± {cell[1]:.3f}" if cell else "" for cell in cells]
        lines.append(f"| {label} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def repeat(config: ConfigDict, workdir: Path, seeds: Sequence[int]) -> str:
    """Runs every seed, writes the summary into `workdir` and returns it as text."""
    records = []
    for seed in seeds:
        seeded = config.copy_and_resolve_references()
        seeded.seed = seed
        records.append(run(seeded, workdir / f"seed_{seed}"))
    summary = summarise(records)
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "gating.json").write_text(json.dumps({"seeds": list(seeds), "rows": summary}, indent=2) + "\n")
    text = f"{len(records)} seeds, mean ± sample standard deviation\n\n{table(summary)}\n"
    (workdir / "gating.md").write_text(text)
    return text


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses a command line: `config`, `workdir` and `seeds`.

    Raises:
        InputError: an option is unknown or has a wrong value.
    """
    # The model decides the defaults of the others.
    model = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    model.add_argument("--model", default=MODELS[0])
    chosen = model.parse_known_args(argv)[0].model
    parser = command_line.parser(
        "python -m benchmarks.gating", __doc__, f"configs/{chosen}.py:demo", f"runs/gating_{chosen}"
    )
    parser.add_argument("--model", choices=MODELS, default=MODELS[0], help="bi-stream model whose demo is repeated")
    parser.add_argument("--seeds", type=_numbers, default=[0, 1, 2], help="training seeds (default: 0,1,2)")
    return command_line.parse(parser, argv)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    return command_line.run(lambda: _gating_command_line(parse(argv)))


def _gating_command_line(args: argparse.Namespace) -> None:
    command_line.keep_programs(args.workdir)
    with logs.shown(args.verbose):
        print(repeat(args.config, args.workdir, args.seeds))


if __name__ == "__main__":
    sys.exit(main())
