"""Reports: what they say, what they show, and that they are never half-written."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from avsd_jax.experiment import report
from avsd_jax.metrics import METRICS
from avsd_jax.scoring import figures
from avsd_jax.scoring.evaluator import Example

GROUPS = ("all", "consistent", "inconsistent")
VERSIONS = {"avsd-jax": "0.1.0", "commit": "abc1234"}


def make_example(name: str, frame: int, gate: bool | None = None, size: tuple[int, int] = (24, 36)) -> Example:
    rng = np.random.default_rng(frame)
    y, x = np.mgrid[: size[0], : size[1]]
    blob = np.exp(-((x - 20) ** 2 + (y - 10) ** 2) / 40)
    return Example(
        video_id=name,
        frame=frame,
        label=frame % 2,
        image=rng.integers(0, 255, (48, 72, 3)).astype(np.uint8),
        density=(255 * blob).astype(np.uint8),
        fixations=np.array([[20, 10], [0, 23.4]], np.float32),
        prediction=blob.astype(np.float32),
        scores=dict.fromkeys(METRICS, 0.5),
        gate=gate,
        probability=None if gate is None else 0.9,
    )


def make_record(level: float, avc: dict[str, Any] | None, examples: list[Example]) -> dict[str, Any]:
    scores = {group: {m: level + i / 10 for i, m in enumerate(METRICS)} for group in GROUPS}
    scores["inconsistent"]["NSS"] = None
    return {
        "protocol": {
            "name": "native",
            "resize": "MATLAB bicubic",
            "smooth_sigma": 2.0,
            "s_auc": "11 bins",
            "average": "frame -> video -> dataset",
            "audio": "real",
        },
        "counts": {
            "videos": dict.fromkeys(GROUPS, 2),
            "frames": {"all": 9, "consistent": 5, "inconsistent": 3},
            "unlabelled": 1,
        },
        "scores": scores,
        "frame_scores": scores,
        "nan": {group: dict.fromkeys(METRICS, 0) | {"CC": 2} for group in GROUPS},
        "avc": avc,
        "videos": {},
        "examples": examples,
        "seconds": 1.0,
    }


AVC = {
    "labelled": 8,
    "majority_baseline": 0.625,
    "accuracy": 0.875,
    "balanced_accuracy": 0.9,
    "auc": 0.95,
    "ece": 0.125,
    "gate_open": {"all": 0.6, "consistent": 0.8, "inconsistent": 0.1},
}


def make_rows() -> list[dict[str, Any]]:
    shown = [make_example("clip", 1), make_example("clip", 2)]
    gated = [make_example("clip", 1, True), make_example("clip", 2, False)]
    v = {"real": make_record(0.2, None, shown)}
    av = {"real": make_record(0.4, AVC, gated), "silent": make_record(0.3, AVC, [])}
    return [
        {"label": "V", "conditions": v, "train_seconds": 61.0, "eval_seconds": 2.0},
        {
            "label": "AV*",
            "conditions": av,
            "train_seconds": None,
            "eval_seconds": 3.0,
            "curve": [(1, 2.0), (5, 1.0)],
        },
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "new"
    report.write(folder, ConfigDict({"run_name": "demo", "total_steps": 7}), make_rows(), VERSIONS)
    return folder


def cells(text: str, start: str) -> list[str]:
    """Cells of the first line of a Markdown table that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(start))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_json_holds_every_number(folder: Path) -> None:
    found = json.loads((folder / "report.json").read_text())
    rows = make_rows()
    for row, wanted in zip(found["rows"], rows, strict=True):
        for condition, record in wanted["conditions"].items():
            del record["examples"]
            assert row["conditions"][condition] == record
        assert row["train_seconds"] == wanted["train_seconds"]
    assert found["config"]["total_steps"] == 7
    assert found["versions"] == VERSIONS
    assert sorted(p.name for p in folder.iterdir()) == ["curves.png", "panel.png", "report.json", "report.md"]


def test_markdown_tells_the_comparison(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    assert cells(text, "|  | NSS")[1:] == ["NSS ↑", "CC ↑", "SIM ↑", "KL ↓", "AUC-J ↑", "s-AUC ↑"]
    assert cells(text, "| V | 0.200")[1:5] == ["0.200", "0.300", "0.400", "**0.500**"]
    assert cells(text, "| AV* | **0.400**")[1:5] == ["**0.400**", "**0.500**", "**0.600**", "0.700"]
    assert cells(text, "| AV* | 87.5%")[1:] == ["87.5%", "62.5%", "90.0%", "0.950", "0.125", "60.0%", "80.0%", "10.0%"]
    assert "Inconsistent frames (3)" in text
    assert "|  | silent | 0.400 (-0.100) |" in text
    for said in (
        "9 frames of 2 videos",
        "1 unlabelled",
        "CC 2",
        "sigma 2 px",
        "1 min 01 s",
        "commit abc1234",
    ):
        assert said in text, said
    assert "![frames with predictions](panel.png)" in text


def test_terminal_table() -> None:
    rows = [report.plain_row(row) for row in make_rows()]
    lines = report.table({"rows": rows}).splitlines()
    assert " ".join(lines[0].split()) == "All frames (9) NSS ↑ CC ↑ SIM ↑ KL ↓ AUC-J ↑ s-AUC ↑"
    assert lines[1].split() == ["V", "0.200", "0.300", "0.400", "0.500", "0.600", "0.700"]
    assert "-" in lines[9].split()
    assert lines[-1].split() == ["AV*", "87.5%", "62.5%", "90.0%", "0.950", "0.125", "60.0%"]
    assert max(map(len, lines)) <= 80


def test_consistency_is_told_of_every_dataset() -> None:
    row = make_rows()[1]
    real = row["conditions"]["real"]
    for name, accuracy in (("diem", 0.5), ("etmd", 1.0)):
        avc = AVC | {"accuracy": accuracy}
        real.setdefault("datasets", {})[name] = make_record(0.4, avc, [])
    real["avc"] = AVC | {"macro_accuracy": 0.75}
    record = {"run": "joined", "rows": [report.plain_row(row)], "versions": VERSIONS, "config": {}}
    text = report.markdown(record, []).partition("## Audio-visual consistency")[2].partition("\n## ")[0]
    joined, diem, etmd = re.split(r"\n### \w+\n", text)
    assert cells(joined, "| AV*")[1:4] == ["87.5%", "75.0%", "62.5%"]
    for part, accuracy in ((diem, "50.0%"), (etmd, "100.0%")):
        assert cells(part, "| AV*")[1:3] == [accuracy, "62.5%"]
        assert "macro" not in part
    terminal = report.table({"rows": record["rows"]})
    assert re.search(r"^diem: consistency +accuracy +majority .*\nAV\* +50.0% +62.5%", terminal, re.M)
    assert re.search(r"^Consistency +accuracy +macro .*\nAV\* +87.5% +75.0%", terminal, re.M)


def test_a_failure_leaves_the_old_report(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*_: Any, **__: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "markdown", fail)
    rows = make_rows()
    with pytest.raises(KeyboardInterrupt):
        report.write(folder, ConfigDict({"run_name": "demo", "total_steps": 7}), rows, VERSIONS)
    kept = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}
    assert kept == before


def test_panel_shows_each_model(folder: Path) -> None:
    assert np.asarray(Image.open(folder / "panel.png")).std() > 20
    one = figures.panel({"V": [make_example("clip", 1)]})
    two = figures.panel({"V": [make_example("clip", 1)], "AV": [make_example("other", 1)]})
    assert two.shape[1] > one.shape[1]
    empty = two[:, -figures.CELL - figures._MARGIN : -figures._MARGIN]
    assert (empty[60:] == 255).all()  # no example of that frame: nothing drawn
    flat = make_example("clip", 3)
    object.__setattr__(flat, "prediction", np.full((24, 36), np.nan, np.float32))
    assert figures.panel({"V": [flat]}).shape == one.shape


def test_curves_take_any_numbers() -> None:
    lines = {
        "falling": [(1, 2.0), (2, 1.5), (3, float("nan")), (4, 1.2)],
        "one point": [(1, 2.0)],
        "flat": [(1, 1.0), (4, 1.0)],
    }
    for series in (lines, {"one point": [(7, 0.0)]}, {"none": []}):
        assert figures.curves(series, "loss").shape == (420, 760, 3)


def test_training_curve(tmp_path: Path) -> None:
    assert report.training_curve(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "kl": 1}\n{"step": 3, "lo')
    assert report.training_curve(tmp_path) == [(1, 2.0)]
