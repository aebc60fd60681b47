"""The files of an evaluation: `scores.json` (the record), `scores.csv` (every frame), `scores.md` (the report)."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avsd_jax.common.atomic_files import write_json, write_text
from avsd_jax.common.wording import some
from avsd_jax.errors import InputError
from avsd_jax.evaluation import published, undefined_scores
from avsd_jax.scoring.markdown import AVERAGE_TITLES, GROUP_TITLES, arrow, bracketed, number, table
from avsd_jax.scoring.protocols import TABLE_METRICS
from avsd_jax.scoring.summary import Frames

_NONE_UNDEFINED: Mapping[str, Any] = {"rule": "dropped", "metrics": {}}  # for records of earlier versions
_KEYS = ("split", "video", "frame", "label", "status")
_MOST_NAMES = 20
# Below about ten samples the percentile bootstrap is known to underestimate the spread.
_FEW_VIDEOS = 10


@dataclass(frozen=True, eq=False)
class Evaluation:
    """An evaluation as read from its folder.

    Attributes:
        folder: its location.
        record: the content of `scores.json`.
        keys: (split, video, frame) of each row of `frames`.
        frames: the scores of the frames that count, in the order of `scores.csv`.
    """

    folder: Path
    record: dict[str, Any]
    keys: list[tuple[str, str, int]]
    frames: Frames


def write(folder: Path, record: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> tuple[Path, ...]:
    """Writes the three files, each atomically, the record last.

    Args:
        folder: created if missing.
        record: as `avsd_jax.evaluate.evaluate` returns it.
        rows: one per frame of the splits: `split`, `video`, `frame`, `label`, `status` (scored, missing, unscored)
            and the metrics, None if a frame has no score.

    Raises:
        InputError: the folder cannot be written to.
    """
    text = io.StringIO()
    metrics = record["protocol"]["metrics"]
    writer = csv.DictWriter(text, [*_KEYS, *metrics], lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)  # floats are written so that they read back the same, None as an empty cell
    paths = tuple(folder / f"scores.{kind}" for kind in ("csv", "md", "json"))
    write_text(paths[0], text.getvalue())
    write_text(paths[1], markdown(record))
    write_json(paths[2], record)
    return paths


def load(folder: str | Path) -> Evaluation:
    """Reads an evaluation from its folder.

    Raises:
        InputError: the folder holds no evaluation, a damaged one, or one of several datasets.
    """
    folder = Path(folder)
    if several := datasets_in(folder):
        raise InputError(
            f"{folder} holds the scores of several datasets: give the folder of one, such as {folder / several[0]}"
        )
    try:
        record = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        with (folder / "scores.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        counted = {"scored"} | ({"missing"} if record["protocol"]["missing"] == "zero" else set())
        rows = [row for row in rows if row["status"] in counted]
        keys = [(row["split"], row["video"], int(row["frame"])) for row in rows]
        splits, videos = (sorted({key[i] for key in keys}) for i in (0, 1))
        frames = Frames(
            part=np.array([splits.index(split) for split, _, _ in keys], int),
            video=np.array([videos.index(video) for _, video, _ in keys], int),
            frame=np.array([frame for _, _, frame in keys], int),
            label=np.array([int(row["label"]) for row in rows], int),
            scores={m: np.array([float(row[m] or "nan") for row in rows]) for m in record["protocol"]["metrics"]},
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} holds no evaluation (no {Path(error.filename).name}): give the --out of avsd_jax.evaluate"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        raise InputError(
            f"the evaluation in {folder} is damaged ({error}): run python -m avsd_jax.evaluate again"
        ) from error
    return Evaluation(folder, record, keys, frames)


def datasets_in(folder: str | Path) -> list[str]:
    """Returns the names of the folders in an evaluation of several datasets; none of any other folder."""
    try:
        record = json.loads((Path(folder) / "scores.json").read_text(encoding="utf-8"))
        return [own["folder"] for own in record["datasets"].values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


# ---------------------------------------------------------------------------------------------------------------------
# The page
# ---------------------------------------------------------------------------------------------------------------------


def markdown(record: Mapping[str, Any]) -> str:
    """Formats the evaluation as Markdown: scores with intervals, omissions, and published rows if there are any."""
    titles = {"scores": AVERAGE_TITLES["video"], "frame_scores": AVERAGE_TITLES["frame"]}
    sections = [f"# {record['dataset']['name']} {', '.join(record['dataset']['splits'])}: protocol {_name(record)}\n"]
    for key in (key for key in titles if key in record):
        sections.append(f"## Scores, {titles[key]}\n\n" + scores_table(record, key))
    interval = record["intervals"]
    sections.append(
        f"In brackets: {100 * interval['level']:.0f} % intervals, {interval['method']} ({interval['resamples']} draws, "
        f"seed {interval['seed']}). Arrows point to better values. Audio and "
        f"video belong together in consistent frames (AVC label 1), not in inconsistent ones (0)."
        f"{few([record['counts']['videos']['all']])}\n"
    )
    if "bounds" in record:
        sections += [_bounds(record, key) for key in titles if key in record]
    if published.table4(record["dataset"]["name"]):
        sections.append(_published(record))
    sections.append(_how(record))
    return "\n".join(sections)


def few(videos: Iterable[int]) -> str:
    """Returns a warning if the number of videos, summed over parts, is small."""
    return " **With so few videos the intervals are too narrow.**" if sum(videos) < _FEW_VIDEOS else ""


def _name(record: Mapping[str, Any]) -> str:
    return f"`{record['protocol']['name']}`"


def scores_table(record: Mapping[str, Any], key: str) -> str:
    """Formats the scores by group of frames: `key` is "scores" or "frame_scores"."""
    counts = record["counts"]
    groups = [group for group in GROUP_TITLES if counts["frames"][group]]
    columns = {"": [GROUP_TITLES[g] for g in groups], "videos": [str(counts["videos"][g]) for g in groups]}
    columns["frames"] = [str(counts["frames"][g]) for g in groups]
    for metric in record["protocol"]["metrics"]:
        columns[arrow(metric)] = [
            bracketed(record[key][g][metric], record["intervals"][key][g][metric]) for g in groups
        ]
    undefined = record.get("undefined", _NONE_UNDEFINED)
    if not any(undefined["metrics"].values()):
        return table(columns)
    for name, cells in zip(columns, ["**no score: map**", "", "", *undefined["metrics"].values()], strict=True):
        columns[name].append(str(cells))
    fate = undefined_scores.FATES[undefined["rule"]]
    return table(columns) + f"\n**Frames without a score because of their map**, in the last row: {fate}.\n"


def _bounds(record: Mapping[str, Any], key: str) -> str:
    """Formats the model's scores between the bounds."""
    rows: dict[str, tuple[str, Mapping[str, Any]]] = {
        "**scored maps**": (str(record["counts"]["frames"]["all"]), record)
    }
    rows |= {name: (str(bound.get("frames", "-")), bound) for name, bound in record["bounds"].items()}
    columns = {"": list(rows), "frames": [frames for frames, _ in rows.values()]}
    for metric in record["protocol"]["metrics"]:
        columns[arrow(metric)] = [
            bracketed(row[key]["all"][metric], row["intervals"][key]["all"][metric]) if key in row else "-"
            for _, row in rows.values()
        ]
    title = AVERAGE_TITLES["video" if key == "scores" else "frame"]
    lines = [
        f"- {name}: " + (f"**not available**, {bound['missing']}" if "missing" in bound else bound["how"]) + "."
        for name, bound in record["bounds"].items()
    ]
    return f"## Bounds, all frames, {title}\n\n{table(columns)}\n" + "\n".join(lines) + "\n"


def _published(record: Mapping[str, Any]) -> str:
    """Formats the rows of Table IV for the dataset, ours first, and of Table V below."""
    name = record["dataset"]["name"]
    ours = {m: record["scores"]["all"].get(m) for m in TABLE_METRICS} if "scores" in record else {}
    text = f"## Beside the survey's Table IV, {published.canonical(name)}, all frames\n\n"
    if record["protocol"]["name"] != published.PROTOCOL:
        text += not_comparable(record)
    rows = published.table4(name)
    shown = [row for row in rows if row.comparable]
    text += beside(ours, shown)
    left_out = [f"{row.method} ({row.remark})" for row in rows if not row.comparable]
    if left_out:
        text += f"\nLeft out: {'; '.join(left_out)}.\n"
    if ablation := published.table5(name):
        text += "\n### Table V: AViNet gated by different classifiers\n\n" + beside(ours, ablation)
    return text + "\n`*`: gated by a classifier of audio-visual consistency; `#`: by the labels.\n"


def not_comparable(record: Mapping[str, Any]) -> str:
    """Returns the warning that scores were not computed by the protocol of the published ones."""
    return (
        f"**Not directly comparable:** the published rows use protocol `{published.PROTOCOL}`, ours "
        f"{_name(record)}. Score with `--protocol={published.PROTOCOL}` to compare.\n\n"
    )


def beside(ours: Mapping[str, float | None], rows: Sequence[published.Row]) -> str:
    """Formats our scores above published rows."""
    columns = {"": ["**ours**", *(row.method for row in rows)], "kind": ["", *(row.kind for row in rows)]}
    for m in TABLE_METRICS:
        columns[arrow(m)] = [f"**{number(ours.get(m))}**", *(number(row.scores.get(m)) for row in rows)]
    return table(columns)


def _how(record: Mapping[str, Any]) -> str:
    coverage, missing, protocol = record["coverage"], record["missing"], record["protocol"]
    fate = "counted as 0" if protocol["missing"] == "zero" else "left out"
    dropped = ", ".join(f"{m} {n}" for m, n in record["nan"]["all"].items() if n) or "none"
    undefined = record.get("undefined", _NONE_UNDEFINED)
    by_map = undefined_scores.in_words(undefined["metrics"]) or "none"
    lines = ["## How it was made\n"]
    for part in record["predictions"]:
        unused = f"; it has no video of these names: {some(part['unused'], _MOST_NAMES)}" if part["unused"] else ""
        how = f"layout {part['layout']}; {part['encoding']}"
        lines.append(f"- Predictions `{part['folder']}` ({how}) on {part['split']}{unused}.")
    lines += [
        f"- Frames: {coverage['scored']} scored, {coverage['missing']} without prediction ({fate}), "
        f"{coverage['unscored']} at the start of videos not scored by the protocol, {coverage['beyond']} predictions "
        f"past the end of their video ignored; {record['counts']['unlabelled']} unlabelled frames are in `all` only.",
        f"- Frames without a score, left out of its mean: {dropped}; because of their map: {by_map} "
        f"({undefined_scores.FATES[undefined['rule']]}).",
        f"- Splits: {record['join']}. Mean {protocol['average']}. s-AUC: {protocol['s_auc']}. "
        f"{record['precision']}; {', '.join(f'{name} {v}' for name, v in record['versions'].items())}.",
    ]
    lines += [f"- **{warning}.**" for warning in record.get("leaks", ())]
    lines += [f"- {remark.rstrip('.')}." for remark in record.get("maps", {}).get("remarks", ())]
    if missing["videos"]:
        lines.append(f"- **Videos without any prediction:** {some(missing['videos'], _MOST_NAMES)}.")
    if missing["frames"]:
        parts = [f"{video}: {ranges}" for video, ranges in missing["frames"].items()]
        lines.append(f"- **Missing frames** (counted from 0): {some(parts, _MOST_NAMES)}.")
    return "\n".join(lines) + "\n\n```json\n" + json.dumps(protocol, indent=1) + "\n```\n"
