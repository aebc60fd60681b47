"""Published scores for comparison: the survey's Tables IV and V.

The numbers are in `published/*.csv`, whose first lines state their source.
"""

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

DATASETS = ("AVAD", "DIEM", "SumMe", "ETMD", "Coutrot1", "Coutrot2")
PROTOCOL = "stavis"
"""The protocol of the tables."""

_MARKS = {"none": "", "classifier": "*", "labels": "#"}


@dataclass(frozen=True)
class Row:
    """A line of a table, for one dataset.

    Attributes:
        method: its name; `*` gated by a classifier of audio-visual consistency, `#` by the labels.
        kind: how it is supervised, or for Table V the classifier's accuracy.
        scores: metric -> value as printed.
        comparable: False if the printed row cannot be right; `remark` says why.
    """

    method: str
    kind: str
    scores: dict[str, float]
    comparable: bool = True
    remark: str = ""


def canonical(dataset: str) -> str | None:
    """Returns the tables' spelling of a dataset (`name` or `name/config`, any case); None if they do not have it."""
    name = dataset.partition("/")[0].lower()
    return next((known for known in DATASETS if known.lower() == name), None)


def table4(dataset: str) -> list[Row]:
    """Returns the rows of Table IV for a dataset, in order; none for a dataset that it does not have."""
    rows: dict[str, Row] = {}
    for line in lines("table4"):
        if line["dataset"] == canonical(dataset):
            name = line["method"] + _MARKS[line["avc"]]
            row = rows.setdefault(name, Row(name, line["supervision"], {}, not line["remark"], line["remark"]))
            row.scores[line["metric"]] = float(line["value"])
    return list(rows.values())


def table4_means(datasets: Sequence[str]) -> tuple[list[Row], list[str]]:
    """Returns the rows of Table IV averaged over datasets that it has, and the methods that have a misprinted row."""
    by_dataset = [{row.method: row for row in table4(dataset)} for dataset in datasets]
    rows, left_out = [], []
    for method, first in by_dataset[0].items():
        own = [rows[method] for rows in by_dataset]
        if all(row.comparable for row in own):
            scores = {m: sum(row.scores[m] for row in own) / len(own) for m in first.scores}
            rows.append(Row(method, first.kind, scores))
        else:
            left_out.append(method)
    return rows, left_out


def table5(dataset: str) -> list[Row]:
    """Returns the rows of Table V for a dataset, AViNet gated by different classifiers; none if it does not have it."""
    accuracy = {line["classifier"]: line["value"] for line in lines("table5") if line["metric"] == "accuracy"}
    rows: dict[str, Row] = {}
    for line in lines("table5"):
        if line["dataset"] and line["dataset"] == canonical(dataset):
            name = line["classifier"]
            row = rows.setdefault(name, Row(f"AViNet* by {name}", f"classifier right in {accuracy[name]} %", {}))
            row.scores[line["metric"]] = float(line["value"])
    return list(rows.values())


def source(table: str) -> str:
    """Returns the source of a table ("table4", "table5"), in words."""
    return " ".join(line.removeprefix("#").strip() for line in _text(table).splitlines() if line.startswith("#"))


@functools.cache
def lines(table: str) -> tuple[dict[str, str], ...]:
    """Returns the lines of a table ("table4", "table5"): column -> value as printed."""
    return tuple(csv.DictReader(line for line in _text(table).splitlines() if not line.startswith("#")))


def _text(table: str) -> str:
    return resources.files("avsd_jax.evaluation").joinpath("published", f"{table}.csv").read_text(encoding="utf-8")
