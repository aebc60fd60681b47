"""Published tables: complete, as printed, and the row that was misprinted left out."""

import csv
from pathlib import Path

import pytest

from avsd_jax.evaluation import published
from avsd_jax.scoring.protocols import TABLE_METRICS


@pytest.mark.parametrize("dataset", published.DATASETS)
def test_every_set_has_all_methods(dataset: str) -> None:
    rows = published.table4(f"{dataset.lower()}/some_config")
    assert len(rows) == 18
    assert [row.method for row in rows[-3:]] == ["AViNet", "AViNet*", "AViNet#"]
    for row in rows:
        assert set(row.scores) == set(TABLE_METRICS)
        assert row.kind in ("unsupervised", "weakly-supervised", "fully-supervised")
    shifted = [row.method for row in rows if not row.comparable]
    assert shifted == (["GradCAM++"] if dataset == "ETMD" else [])
    assert all(row.remark for row in rows if not row.comparable)


def test_known_values() -> None:
    oracle = published.table4("DIEM")[-1]
    assert oracle.scores == {"AUC-J": 0.906, "SIM": 0.518, "s-AUC": 0.797, "CC": 0.643, "NSS": 2.634}
    assert [row.method for row in published.table5("avad")] == [
        f"AViNet* by {n}" for n in ("L3Net", "AVENet", "AVID+ws", "AVID")
    ]
    assert published.table5("AVAD")[3].kind == "classifier right in 87.59 %"
    assert published.table5("ETMD") == published.table4("sounding_shapes") == []
    assert "Table IV" in published.source("table4")
    assert published.canonical("summe") == "SumMe"


def test_tables_are_the_printed_ones(shared: Path) -> None:
    with (shared / "paper/table4.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 540
    ours = {(name, row.method): row.scores for name in published.DATASETS for row in published.table4(name)}
    for line in lines:
        mark = {"none": "", "classifier": "*", "labels": "#"}[line["avc"]]
        assert ours[line["dataset"], line["method"] + mark][line["metric"]] == float(line["value"])
