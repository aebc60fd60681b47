"""Benchmark of gating by audio-visual consistency: the demo's comparison over several seeds, mean and spread.

    python -m benchmarks.gating [--model=avinet|stavis|stanet] [--workdir=runs/gating_MODEL] [--seeds=0,1,2]
                                [--config=configs/MODEL.py:demo] [--config.FIELD=VALUE ...]

Each seed is a whole run, as of `avsd_jax.main`, in `<workdir>/seed_<n>`: training and sampling start from the seed, the
dataset is the same. An interrupted run resumes. Writes `gating.json` and `gating.md`: the scores, and what the survey
claims as differences with intervals.
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
from avsd_jax.common.programs import keep_programs
from avsd_jax.experiment import command_line
from avsd_jax.experiment.run import run
from avsd_jax.scoring import markdown
from avsd_jax.scoring.summary import Table

GROUPS = ("all", "consistent", "inconsistent")
METRICS = ("CC", "NSS", "SIM", "KL", "AUC-J", "s-AUC")

# What the survey claims: row, the lower row, the group of frames.
CLAIMS = (
    ("AV", "V", "all"),
    ("AV", "V", "consistent"),
    ("V", "AV", "inconsistent"),
    ("AV*", "AV", "all"),
    ("AV#", "AV*", "all"),
)

MODELS = ("avinet", "stavis", "stanet", "dave")


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


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Computes differences of CC in pairs of videos, averaged over seeds, with 95 % intervals over videos.

    The survey claims that all of them are positive. The last is what a model loses with the audio of another video;
    it is left out where the audio was not replaced, and a claim on a row that is not compared is, too.
    """
    conditions = {row["label"]: row["conditions"] for row in records[0]["rows"]}
    found = []
    for a, b, group in (claim for claim in CLAIMS if {*claim[:2]} <= conditions.keys()):
        found.append({"claim": f"{a} - {b}", "group": group} | _difference(records, (a, "real"), (b, "real"), group))
    if "shuffled" in conditions.get("AV", ()):
        lost = _difference(records, ("AV", "real"), ("AV", "shuffled"), "all")
        found.append({"claim": "AV - AV with another video's audio", "group": "all"} | lost)
    return found


def _difference(
    records: Sequence[dict[str, Any]], first: tuple[str, str], second: tuple[str, str], group: str
) -> dict[str, Any]:
    """Returns the `difference` of two (row, audio condition) and its `interval`."""

    def scores(record: dict[str, Any], label: str, condition: str) -> list[float]:
        row = next(row for row in record["rows"] if row["label"] == label)
        videos = row["conditions"][condition]["videos"]
        return [np.nan if (x := videos[name].get(group, {}).get("CC")) is None else x for name in sorted(videos)]

    gaps = np.array([np.subtract(scores(r, *first), scores(r, *second)) for r in records])
    table = Table(np.nan_to_num(gaps), (~np.isnan(gaps)).astype(int))
    return {"difference": float(table.mean("video", True)[0]), "interval": table.interval("video", True)}


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


def claims_table(differences: Sequence[dict[str, Any]]) -> str:
    """Formats the differences as a Markdown table."""
    return markdown.table(
        {
            "difference of CC": [one["claim"] for one in differences],
            "frames": [one["group"] for one in differences],
            "mean and 95 % interval over videos": [
                markdown.bracketed(one["difference"], one["interval"], "+") for one in differences
            ],
        }
    )


def repeat(config: ConfigDict, workdir: Path, seeds: Sequence[int]) -> str:
    """Runs every seed, writes the summary into `workdir` and returns it as text."""
    records = []
    for seed in seeds:
        seeded = config.copy_and_resolve_references()
        seeded.seed = seed
        records.append(run(seeded, workdir / f"seed_{seed}"))
    summary = summarise(records)
    workdir.mkdir(parents=True, exist_ok=True)
    found = claims(records)
    record = {"seeds": list(seeds), "rows": summary, "claims": found}
    (workdir / "gating.json").write_text(json.dumps(record, indent=2) + "\n")
    text = f"{len(records)} seeds, mean ± sample standard deviation\n\n{table(summary)}\n\n{claims_table(found)}\n"
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
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2], help="training seeds (default: 0,1,2)")
    return command_line.parse(parser, argv)


def numbers(text: str) -> list[int]:
    """Parses whole numbers, joined by commas."""
    return [int(number) for number in text.split(",")]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    return command_line.run(lambda: _gating_command_line(parse(argv)))


def _gating_command_line(args: argparse.Namespace) -> None:
    with logs.shown(args.verbose):
        keep_programs(args.config.compilation_cache)
        print(repeat(args.config, args.workdir, args.seeds))


if __name__ == "__main__":
    sys.exit(main())
