"""The report of a comparison: `report.json`, `report.md`, and their figures.

Input is a list of rows, one per model:

  label          its name in tables
  conditions     audio condition -> record of `avsd_jax.scoring.evaluator`; `real` is always present
  train_seconds  time of its training, None if it was not trained now
  eval_seconds   time of its scoring
  curve          optional: (step, loss) points, see `training_curve`
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from PIL import Image

from avsd_jax.common import atomic_files
from avsd_jax.metrics import METRICS
from avsd_jax.scoring import figures
from avsd_jax.scoring.markdown import GROUP_TITLES, arrow, best, change, number, percent
from avsd_jax.scoring.markdown import table as markdown_table
from avsd_jax.training.metric_writer import read_scalars

AUDIT_METRICS = ("CC", "KL")
# The survey's names of models.
MEANINGS = {
    "V": "is the visual stream alone",
    "AV": "is always fused with the audio",
    "AV*": "is gated by a classifier",
    "AV#": "is gated by the labels",
}
# Heads in the terminal's table -> columns of the report's.
_TERMINAL_COLUMNS = {
    "accuracy": "accuracy",
    "macro": "macro accuracy",
    "majority": "majority baseline",
    "balanced": "balanced accuracy",
    "AUC": "AUC",
    "ECE": "ECE",
    "gate open": "gate open",
}


def write(
    workdir: str | Path,
    config: ConfigDict,
    rows: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, str],
) -> dict[str, Any]:
    """Writes the report into a folder, each file atomically.

    Args:
        workdir: gets `report.json`, `report.md` and, if there is data for them, `panel.png` and
            `curves.png`.
        config: of the run.
        rows: see the module.
        provenance: name -> version of what computed the numbers.

    Returns:
        What `report.json` holds: `run`, `config`, `versions`, and `rows` with plain records.
    """
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    record = {
        "run": config.run_name,
        "rows": [plain_row(row) for row in rows],
        "versions": dict(provenance),
        "config": json.loads(config.to_json()),
    }
    shown = {row["label"]: row["conditions"]["real"].get("examples", []) for row in rows}
    drawn = {}
    if any(shown.values()):
        drawn["panel.png"] = figures.panel({k: v for k, v in shown.items() if v})
    lines = {row["label"]: row["curve"] for row in rows if row.get("curve")}
    if lines:
        drawn["curves.png"] = figures.curves(lines, "training loss")
    for name, figure in drawn.items():
        atomic_files.write(workdir / name, lambda file, p=figure: Image.fromarray(p).save(file, "PNG"))
    atomic_files.write_json(workdir / "report.json", record)
    atomic_files.write_text(workdir / "report.md", markdown(record, list(drawn)))
    return record


def training_curve(folder: str | Path, name: str = "loss") -> list[tuple[int, float]]:
    """Returns the (step, value) points of a scalar in a training's `metrics.jsonl`; none if that is missing."""
    path = Path(folder) / "metrics.jsonl"
    if not path.exists():
        return []
    return [(line["step"], line[name]) for line in read_scalars(path) if line.get(name) is not None]


# ----------------------------------------------------------------------------------------------------------
# Tables
# ----------------------------------------------------------------------------------------------------------


def legend(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns what the labels mean that the survey gives to models, as one sentence; "" if no row has one of them."""
    known = [f"{row['label']} {MEANINGS[row['label']]}" for row in rows if row["label"] in MEANINGS]
    return f"{', '.join(known)}." if known else ""


def table(record: Mapping[str, Any]) -> str:
    """Returns the scores as text for a terminal: a block per group of frames and dataset, then the classifier line."""
    rows = record["rows"]
    blocks = [*_blocks(_real(rows)), *(block for name in _datasets(rows) for block in _blocks(_real(rows, name), name))]
    wide = max(len(text) + 2 for text in (*(row["label"] for row in rows), *(title for title, _ in blocks)))
    lines = []
    for title, scores in blocks:
        lines.append(title.ljust(wide) + "".join(f"{arrow(m):>8}" for m in METRICS))
        for row, values in zip(rows, scores, strict=True):
            lines.append(row["label"].ljust(wide) + "".join(f"{number(values[m]):>8}" for m in METRICS))
        lines.append("")
    if any(_avc(row) for row in rows):
        for name in ("", *_datasets(rows)):
            title = f"{name}: consistency" if name else "Consistency"
            cells = [_consistency_cells(_avc(row, name)) for row in rows if _avc(row)]
            heads = {head: column for head, column in _TERMINAL_COLUMNS.items() if _is_shown(column, rows, name)}
            lines.append(title.ljust(wide) + "".join(f"{head:>{_width(head)}}" for head in heads))
            for row, values in zip(filter(_avc, rows), cells, strict=True):
                shown = "".join(f"{values[column]:>{_width(head)}}" for head, column in heads.items())
                lines.append(row["label"].ljust(wide) + shown)
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def markdown(record: Mapping[str, Any], shown: Sequence[str]) -> str:
    """Returns the whole report as Markdown.

    Args:
        record: as `write` returns it.
        shown: names of the figures beside it.
    """
    rows = record["rows"]
    sections = [f"# {record['run']}\n", _scores_section(rows)]
    if _datasets(rows):
        sections.append(_datasets_section(rows))
    if "panel.png" in shown:
        sections.append(
            "## Example frames\n\nFrames from the middle of the longest runs of each label, selected before any "
            "scoring; dots are single fixations.\n\n![frames with predictions](panel.png)\n"
        )
    if any(_avc(row) for row in rows):
        sections.append(_consistency_section(rows))
    if any(len(row["conditions"]) > 1 for row in rows):
        sections.append(_audit_section(rows))
    if "curves.png" in shown:
        sections.append("## Training\n\n![training loss over steps](curves.png)\n")
    sections.append(_provenance_section(record))
    return "\n".join(sections)


def _scores_section(rows: Sequence[Mapping[str, Any]]) -> str:
    text = f"## Scores\n\nArrows point to better values; the best of a column is bold. {legend(rows)}".rstrip() + "\n"
    return "\n".join([text, *_score_tables(rows, _blocks(_real(rows)))])


def _datasets_section(rows: Sequence[Mapping[str, Any]]) -> str:
    parts = ["## Scores by dataset\n"]
    for name in _datasets(rows):
        parts += _score_tables(rows, _blocks(_real(rows, name), name))
    return "\n".join(parts)


def _score_tables(rows: Sequence[Mapping[str, Any]], blocks: Sequence[tuple[str, list[Any]]]) -> list[str]:
    tables = []
    for title, scores in blocks:
        values = {m: [score[m] for score in scores] for m in METRICS}
        columns = {arrow(m): _bold_best([number(v) for v in values[m]], values[m], m) for m in METRICS}
        tables.append(f"### {title}\n\n" + markdown_table({"": [r["label"] for r in rows]} | columns))
    return tables


def _consistency_section(rows: Sequence[Mapping[str, Any]]) -> str:
    labels, parts = [row["label"] for row in rows if _avc(row)], []
    for name in ("", *_datasets(rows)):
        cells = [_consistency_cells(_avc(row, name)) for row in rows if _avc(row)]
        columns = {column: [row[column] for row in cells] for column in cells[0] if _is_shown(column, rows, name)}
        columns = {"": labels} | columns
        parts.append((f"### {name}\n\n" if name else "") + markdown_table(columns))
    return (
        "## Audio-visual consistency\n\nAccuracy is over labelled frames, macro accuracy its mean over datasets, "
        "balanced accuracy its mean over the two labels; the majority baseline always predicts the more frequent "
        "label. ECE is the expected calibration error of the probability of consistency. The gate is open where the AV "
        "stream was used.\n\n" + "\n".join(parts)
    )


def _is_shown(column: str, rows: Sequence[Mapping[str, Any]], dataset: str) -> bool:
    """Returns whether a column of `_consistency_cells` belongs in a table: one dataset is its own mean."""
    return column != "macro accuracy" or (bool(_datasets(rows)) and not dataset)


def _width(head: str) -> int:
    return max(7, len(head) + 2)


def _consistency_cells(avc: Mapping[str, Any] | None) -> dict[str, str]:
    """Returns the cells of a row on the classifier and the gate; dashes for a dataset without them."""
    # Scores that were written by earlier versions lack the newer numbers.
    avc = avc or {}
    gate = avc.get("gate_open") or {}
    return {
        "accuracy": percent(avc.get("accuracy")),
        "macro accuracy": percent(avc.get("macro_accuracy")),
        "majority baseline": percent(avc.get("majority_baseline")),
        "balanced accuracy": percent(avc.get("balanced_accuracy")),
        "AUC": number(avc.get("auc")),
        "ECE": number(avc.get("ece")),
        "gate open": percent(gate.get("all")),
        "on consistent": percent(gate.get("consistent")),
        "on inconsistent": percent(gate.get("inconsistent")),
    }


def _audit_section(rows: Sequence[Mapping[str, Any]]) -> str:
    columns: dict[str, list[str]] = {"": [], "audio": []}
    groups = _groups(_real(rows))
    columns |= {f"{arrow(m)} {group}": [] for group in groups for m in AUDIT_METRICS}
    for row in (row for row in rows if len(row["conditions"]) > 1):
        for condition, result in row["conditions"].items():
            columns[""].append(row["label"] if condition == "real" else "")
            columns["audio"].append(condition)
            for group in groups:
                for m in AUDIT_METRICS:
                    real, value = row["conditions"]["real"]["scores"][group][m], result["scores"][group][m]
                    columns[f"{arrow(m)} {group}"].append(change(value, None if condition == "real" else real))
    return (
        "## Audio audit\n\nThe same frames with replaced audio: silence, another video's, noise. Brackets: change "
        "relative to the real audio. A model whose scores do not change ignores its audio input.\n\n"
        + markdown_table(columns)
    )


def _provenance_section(record: Mapping[str, Any]) -> str:
    real = record["rows"][0]["conditions"]["real"]
    protocol, counts, nan = real["protocol"], real["counts"], real["nan"]["all"]
    frames = ", ".join(f"{counts['frames'][g]} {g}" for g in ("consistent", "inconsistent"))
    dropped = ", ".join(f"{m} {n}" for m, n in nan.items() if n) or "none"
    blur = f", blurred with sigma {protocol['smooth_sigma']:g} px" if protocol["smooth_sigma"] else ""
    times = {
        "": [row["label"] for row in record["rows"]],
        "training": [_duration(row["train_seconds"]) for row in record["rows"]],
        "scoring": [_duration(row["eval_seconds"]) for row in record["rows"]],
    }
    lines = [
        "## How it was made\n",
        f"- {counts['frames']['all']} frames of {counts['videos']['all']} videos: {frames}, "
        f"{counts['unlabelled']} unlabelled (in `all` only).",
        f"- Protocol `{protocol['name']}`: {protocol['resize']}{blur}; s-AUC: {protocol['s_auc']}; "
        f"mean {protocol['average']}.",
        f"- Frames without a score, left out of its mean ({record['rows'][0]['label']}): {dropped}.",
        "- Versions: " + ", ".join(f"{name} {version}" for name, version in record["versions"].items()) + ".",
        "",
        markdown_table(times),
        f"```json\n{json.dumps(record['config'], indent=1)}\n```\n",
    ]
    return "\n".join(lines)


# ----------------------------------------------------------------------------------------------------------
# Cells and files
# ----------------------------------------------------------------------------------------------------------


def _real(rows: Sequence[Mapping[str, Any]], dataset: str = "") -> list[Mapping[str, Any]]:
    """Returns the rows' records with the real audio; of one of the joined datasets, if one is named."""
    records = [row["conditions"]["real"] for row in rows]
    return [record["datasets"][dataset] for record in records] if dataset else records


def _datasets(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the names of the joined datasets; none if there is only one."""
    return list(rows[0]["conditions"]["real"].get("datasets", ()))


def _groups(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the groups that have frames."""
    frames = records[0]["counts"]["frames"]
    return [group for group in GROUP_TITLES if frames[group]]


def _blocks(records: Sequence[Mapping[str, Any]], dataset: str = "") -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Returns a title and each record's scores, for each group that has frames."""
    frames = records[0]["counts"]["frames"]
    begin = f"{dataset}: " if dataset else ""
    return [
        (f"{begin}{GROUP_TITLES[group]} ({frames[group]})", [record["scores"][group] for record in records])
        for group in _groups(records)
    ]


def _avc(row: Mapping[str, Any], dataset: str = "") -> Mapping[str, Any] | None:
    """Returns a row's scores of the classifier and the gate; on one of the joined datasets, if one is named."""
    return _real([row], dataset)[0]["avc"]


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"


def _bold_best(cells: list[str], values: Sequence[float | None], metric: str) -> list[str]:
    if sum(value is not None for value in values) < 2:
        return cells
    highest = best(values, metric)
    return [f"**{cell}**" if value == highest else cell for cell, value in zip(cells, values, strict=True)]


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row without the data of the figures."""
    conditions = {
        condition: {k: v for k, v in record.items() if k != "examples"}
        for condition, record in row["conditions"].items()
    }
    times = {key: row.get(key) for key in ("train_seconds", "eval_seconds")}
    return {"label": row["label"], **times, "conditions": conditions}
