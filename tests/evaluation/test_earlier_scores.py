"""Earlier scores in the output folder: others' are refused, the same are set aside until the new ones are complete."""

import json
from pathlib import Path
from typing import Any

import pytest

from avsd_jax import evaluate
from avsd_jax.evaluation import earlier_scores, scoring_jobs

TINY = "sounding_shapes/tiny"


def leave_scores(out: Path, maps: Path, **changes: Any) -> Path:
    record = {
        "dataset": {"name": TINY, "splits": ["test"]},
        "predictions": [{"folder": str(maps)}],
        "protocol": {"name": "native"},
    } | changes
    out.mkdir(exist_ok=True)
    for name in ("scores.csv", "scores.md"):
        (out / name).write_text("earlier")
    (out / "scores.json").write_text(json.dumps(record))
    return out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": {"name": "diem", "splits": ["test"]}}, "dataset diem"),
        ({"dataset": {"name": TINY, "splits": ["test_1", "test_2"]}}, "splits test_1, test_2"),
        ({"predictions": [{"folder": "/others/maps"}]}, "predictions /others/maps"),
        ({"protocol": {"name": "stavis"}}, "protocol stavis"),
    ],
)
def test_scores_of_another_evaluation_are_not_overwritten(
    changes: dict[str, Any],
    message: str,
    tmp_path: Path,
    tiny_data_dir: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    out = leave_scores(tmp_path / "out", maps, **changes)
    before = {path: path.read_bytes() for path in out.rglob("*")}
    arguments = [f"--predictions={maps}", f"--dataset={TINY}", f"--data_dir={tiny_data_dir}", f"--out={out}"]
    assert evaluate.main(arguments) == 2
    assert f"{out} holds the scores of another evaluation ({message}): give another --out" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*")} == before


def test_the_same_evaluation_may_be_repeated(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    out = leave_scores(tmp_path / "out", maps / "sounding_shapes")
    earlier_scores.check_same(out, TINY, ["test"], [maps], "native")
    earlier_scores.check_same(out, TINY, ["test"], [maps / "sounding_shapes"], "native, undefined=worst")
    (out / "scores.json").write_text("{")  # a damaged record belongs to no evaluation
    earlier_scores.check_same(out, "diem", ["test"], [maps], "native")


def test_a_run_that_fails_leaves_no_page_that_seems_its_own(
    tmp_path: Path, tiny_data_dir: Path, capsys: pytest.CaptureFixture
) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    out = leave_scores(tmp_path / "out", maps)
    arguments = [f"--predictions={maps}", f"--dataset={TINY}", f"--data_dir={tiny_data_dir}", f"--out={out}"]
    assert evaluate.main(arguments) == 2
    assert "holds no predictions" in capsys.readouterr().err
    assert not list(out.glob("scores.*"))
    assert (out / "earlier/scores.md").read_text() == "earlier"
    earlier_scores.forget(out)
    assert not list(out.iterdir())


def test_ctrl_c_is_one_line(
    tmp_path: Path, tiny_data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "maps/test_00000").mkdir(parents=True)
    (tmp_path / "maps/test_00000/000000.png").write_bytes(b"")
    out = tmp_path / "out/videos/test"
    out.mkdir(parents=True)
    (out / ".test_00000.json.partial").write_text("{")

    def interrupted(job: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scoring_jobs, "score_video", interrupted)
    arguments = [f"--predictions={tmp_path / 'maps'}", f"--dataset={TINY}", f"--data_dir={tiny_data_dir}"]
    assert evaluate.main([*arguments, f"--out={tmp_path / 'out'}", "--workers=1", "--first_frame=0"]) == 130
    assert [line for line in capsys.readouterr().err.splitlines() if "error" in line] == ["error: interrupted"]
    assert not list((tmp_path / "out").rglob("*.*"))


def test_results_are_named_after_all_that_was_scored() -> None:
    def name(*predictions: str, dataset: str = "diem", splits: tuple[str, ...] = ("test",)) -> str:
        return evaluate.default_out(predictions, dataset, splits, "stavis").name

    assert name("/a/m1") == "m1-scores-diem-stavis-test"
    assert name("/a/m1", dataset="diem/maps-gaze") == "m1-scores-diem.maps-gaze-stavis-test"
    folds = ("test_1", "test_2")
    assert name("/a/m1", "/a/m2", splits=folds) == "m1+m2-scores-diem-stavis-test_1+test_2"
    assert name("/a/m1/maps", "/a/m2/maps", splits=folds) == "m1.maps+m2.maps-scores-diem-stavis-test_1+test_2"
    long = [f"/a/{'x' * 90}{i}" for i in range(3)]
    assert len(name(*long)) < 200
    assert name(*long) != name(*long[:2])
