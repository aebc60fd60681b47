"""Many models side by side: means, best, pairs, and the same in every form."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from avsd_jax import compare
from avsd_jax.errors import InputError
from avsd_jax.evaluation import compare_many, score_files
from avsd_jax.scoring.paired import paired_differences
from avsd_jax.scoring.protocols import NATIVE
from avsd_jax.scoring.summary import Frames, summarise

PROTOCOL = dataclasses.replace(NATIVE, metrics=("CC", "KL"))
VIDEOS, LENGTH = 12, 3


def scores(shift: float, seed: int) -> Frames:
    """Twelve videos of three frames; of KL lower is better."""
    video = np.repeat(np.arange(VIDEOS), LENGTH)
    cc = np.random.default_rng(7).normal(0, 1, VIDEOS)[video] + shift
    cc += np.random.default_rng(seed).normal(0, 0.05, len(video))
    cc[4] = np.nan
    frame, zero = np.tile(np.arange(LENGTH), VIDEOS), np.zeros(len(video), int)
    return Frames(zero, video, frame, np.tile([0, 1, -1], VIDEOS), {"CC": cc, "KL": -cc})


def save(folder: Path, frames: Frames, drop: int = 0) -> Path:
    names = [f"v{i:02d}" for i in range(VIDEOS)]
    record = {
        "dataset": {"name": "made_up", "version": "1", "splits": ["test"], "digest": "0"},
        "predictions": [],
        "protocol": PROTOCOL.as_record(),
        **summarise(frames, names, PROTOCOL),
        "join": "one split",
        "precision": "float64",
        "ground_truth": {"videos": dict.fromkeys(names, "1")},
        "coverage": {"scored": 36, "missing": 0, "unscored": 0, "beyond": 0},
        "missing": {"videos": [], "frames": {}},
        "versions": {},
    }
    rows = [
        {"split": "test", "video": names[v], "frame": int(f), "label": int(label), "status": "scored"}
        | {m: None if np.isnan(x[i]) else float(x[i]) for m, x in frames.scores.items()}
        for i, (v, f, label) in enumerate(zip(frames.video, frames.frame, frames.label, strict=True))
    ]
    score_files.write(folder, record, rows[drop:])
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("models")
    shifts = {"plain": 0.0, "good_50%": 0.3, "same": 0.0}
    return [save(base / name, scores(shift, seed)) for seed, (name, shift) in enumerate(shifts.items())]


def test_one_table_of_many_models_in_every_form(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert compare.main([*map(str, folders), f"--out={tmp_path}"]) == 0
    page = (tmp_path / "compare.md").read_text()
    assert page.strip() == capsys.readouterr().out.strip()
    record = json.loads((tmp_path / "compare.json").read_text())
    found = record["video"]["groups"]["all"]
    for folder in folders:
        alone = score_files.load(folder).record["scores"]["all"]
        assert {m: by[folder.name] for m, by in found["scores"].items()} == pytest.approx(alone)
    assert found["best"] == {"CC": ["good_50%"], "KL": ["good_50%"]}
    best = f"{found['scores']['CC']['good_50%']:.3f}"
    assert re.search(rf"^\| good_50% \| \*\*{re.escape(best)}\*\* \| \*\*", page, re.M)
    assert page.count(f"**{best}**") == 1
    # The pairs, and their correction: three pairs of two metrics, that are one and the same here.
    first = paired_differences(scores(0.0, 0), scores(0.3, 1), "video", False)["groups"]["all"]["CC"]
    pair = found["pairs"][0]
    assert (pair["a"], pair["b"]) == ("plain", "good_50%")
    assert pair["metrics"]["CC"]["difference"] == pytest.approx(first["difference"])
    assert pair["metrics"]["CC"]["p"] == first["p"] == 2**-11
    assert pair["metrics"]["CC"]["p_holm"] == 6 * 2**-11
    assert [p["metrics"][m]["better"] for p in found["pairs"] for m in ("CC", "KL")] == ["b", "b", None, None, "a", "a"]
    rows = list(csv.DictReader((tmp_path / "compare.csv").read_text().splitlines()))
    assert [float(row["CC"]) for row in rows[:3]] == list(found["scores"]["CC"].values())
    assert len(rows) == 3 * 3 * 2  # models, groups, averages
    pairs = list(csv.DictReader((tmp_path / "compare_pairs.csv").read_text().splitlines()))
    assert [row["better"] for row in pairs[:6]] == ["good_50%", "good_50%", "", "", "good_50%", "good_50%"]
    assert pairs[0]["frames"] == "35"
    latex = (tmp_path / "compare.tex").read_text()
    assert rf"good\_50\% & \textbf{{{best}}} & \textbf{{" in latex
    assert r"Model & CC $\uparrow$ & KL $\downarrow$ \\" in latex
    for rule in ("toprule", "midrule", "bottomrule"):
        assert latex.count("\\" + rule) == latex.count(r"\begin{tabular}{lrr}") == 6


def test_all_are_brought_to_the_frames_that_all_scored(folders: list[Path], tmp_path: Path) -> None:
    fewer = save(tmp_path / "fewer", scores(0.1, 9), drop=2)
    evaluations = [score_files.load(folder) for folder in (*folders, fewer)]
    names = ["a", "b", "c", "d"]
    with pytest.raises(InputError, match="the 4 scored different frames: 2 only in .*compares the 34 that all have"):
        compare_many.compare_many(evaluations, names)
    record = compare_many.compare_many(evaluations, names, common_frames=True)
    assert (record["frames"], record["left_out"]) == (34, {"a": 2, "b": 2, "c": 2, "d": 0})
    assert "34 frames that all scored (2 of a, 2 of b, 2 of c left out)" in compare_many.markdown(record)


def test_names_are_given_once(folders: list[Path], capsys: pytest.CaptureFixture) -> None:
    assert compare.main([*map(str, folders), "--names=a,b"]) == 2
    assert "names a, b for 3 folders: give --names, each one once" in capsys.readouterr().err
    assert compare.main([*map(str, folders), "--names=x,y,z"]) == 0
    assert "| y | **" in capsys.readouterr().out


def test_latex_has_no_character_with_a_meaning() -> None:
    assert compare_many.escaped(r"a_b & 5 % \x {~^}") == (
        r"a\_b \& 5 \% \textbackslash{}x \{\textasciitilde{}\textasciicircum{}\}"
    )
