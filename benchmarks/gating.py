"""Benchmark of gating by audio-visual consistency: the demo's comparison over several seeds, mean and spread.

    python -m benchmarks.gating [--model=avinet|stavis|stanet] [--workdir=runs/gating_MODEL] [--seeds=0,1,2]

`--config=FILE` uses another configuration than `configs/MODEL.py:demo`.
Each seed is a whole run of `avsd_jax.main` in `<workdir>/seed_<n>`: training and sampling start from the seed, the
dataset is the same. An interrupted run resumes. Writes `gating.json` and `gating.md`.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags, logging

from avsd_jax import main as command_line
from avsd_jax.common.cli import run as run_command
from avsd_jax.errors import InputError

GROUPS = ("all", "consistent", "inconsistent")
METRICS = ("CC", "NSS", "SIM", "KL", "AUC-J", "s-AUC")

MODELS = ("avinet", "stavis", "stanet")

# The configuration and the folder are the flags of `avsd_jax.main`.
_MODEL = flags.DEFINE_enum("model", "avinet", MODELS, "Bi-stream model whose demo is repeated.")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Training seeds.")


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


def main(argv: Sequence[str]) -> None:
    """Runs every seed and writes the summary."""
    del argv
    out = Path(flags.FLAGS.workdir)
    logging.set_verbosity(logging.INFO)
    jax.config.update("jax_compilation_cache_dir", str(out.absolute() / "compiled"))
    records = []
    for seed in map(int, _SEEDS.value):
        config = flags.FLAGS.config.copy_and_resolve_references()
        config.seed = seed
        records.append(command_line.run(config, out / f"seed_{seed}"))
    summary = summarise(records)
    out.mkdir(parents=True, exist_ok=True)
    (out / "gating.json").write_text(json.dumps({"seeds": _SEEDS.value, "rows": summary}, indent=2) + "\n")
    text = f"{len(records)} seeds, mean ± sample standard deviation\n\n{table(summary)}\n"
    (out / "gating.md").write_text(text)
    print(text)


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line of `avsd_jax.main` with this benchmark's defaults.

    Raises:
        InputError: an unknown model, or what `avsd_jax.main` refuses.
    """
    model = next((a.removeprefix("--model=") for a in argv if a.startswith("--model=")), _MODEL.default)
    if model not in MODELS:
        raise InputError(f"unknown model {model!r}: choose one of {', '.join(MODELS)}")
    defaults = {"--config=": f"configs/{model}.py:demo", "--workdir=": f"runs/gating_{model}"}
    missing = [flag + value for flag, value in defaults.items() if not any(a.startswith(flag) for a in argv)]
    return command_line.parse_flags([argv[0], *missing, *argv[1:]])


if __name__ == "__main__":
    sys.exit(run_command(lambda: app.run(main, flags_parser=parse_flags)))
