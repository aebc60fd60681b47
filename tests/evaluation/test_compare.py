"""Confidence intervals and paired comparisons, against resampling and averages written out."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsd_jax import compare
from avsd_jax.errors import InputError
from avsd_jax.evaluation import score_files
from avsd_jax.scoring.paired import paired_differences
from avsd_jax.scoring.protocols import NATIVE
from avsd_jax.scoring.summary import RESAMPLES, SEED, Frames, Table, summarise

PROTOCOL = dataclasses.replace(NATIVE, metrics=("CC", "KL"))
LENGTHS = (5, 9, 4, 12, 7)


def made_up(seed: int = 0, shift: float = 0.0, parts: int = 1, difficulty: float = 1.0) -> Frames:
    """Scores of five videos that differ far more between videos than `shift`; some frames have none."""
    rng = np.random.default_rng(7)
    noise = np.random.default_rng(seed)
    n = sum(LENGTHS)
    video = np.repeat(np.arange(5), LENGTHS)
    hard = difficulty * np.repeat(rng.normal(0, 1, 5), LENGTHS)
    columns = []
    for part in range(parts):
        cc = hard + shift + part + noise.normal(0, 0.05, n)
        cc[[3, 20]] = np.nan
        columns.append(cc)
    cc = np.concatenate(columns)
    return Frames(
        part=np.repeat(np.arange(parts), n),
        video=np.tile(video, parts),
        frame=np.tile(np.concatenate([np.arange(k) for k in LENGTHS]), parts),
        label=np.tile(np.arange(n) % 3 - 1, parts),
        scores={"CC": cc, "KL": -cc},
    )


def means(frames: Frames, part: int, rows: np.ndarray) -> np.ndarray:
    """Mean CC of each video."""
    own = [frames.scores["CC"][rows & (frames.part == part) & (frames.video == v)] for v in range(5)]
    return np.array([np.nanmean(values) for values in own])


def test_intervals_are_those_of_draws_written_out() -> None:
    frames = made_up()
    record = summarise(frames, list("abcde"), PROTOCOL)
    per_video = means(frames, 0, frames.label == 1)
    draws = np.random.default_rng(SEED).multinomial(5, [0.2] * 5, RESAMPLES)
    resampled = [np.repeat(per_video, row).mean() for row in draws]
    expected = np.percentile(resampled, [2.5, 97.5])
    np.testing.assert_allclose(record["intervals"]["scores"]["consistent"]["CC"], expected)
    assert record["scores"]["consistent"]["CC"] == pytest.approx(per_video.mean())
    every = np.nanmean(frames.scores["CC"])
    assert record["frame_scores"]["all"]["CC"] == pytest.approx(every)
    assert record["nan"]["all"] == {"CC": 2, "KL": 2}
    by_frame = [np.nansum(frames.scores["CC"][frames.video == v]) for v in range(5)]
    counts = [np.sum(~np.isnan(frames.scores["CC"][frames.video == v])) for v in range(5)]
    resampled = draws @ by_frame / (draws @ counts)
    np.testing.assert_allclose(record["intervals"]["frame_scores"]["all"]["CC"], np.percentile(resampled, [2.5, 97.5]))
    assert record["intervals"]["seed"] == SEED
    assert summarise(frames, list("abcde"), PROTOCOL) == record
    only_cc = summarise(frames, list("abcde"), dataclasses.replace(PROTOCOL, metrics=("CC",)))
    assert only_cc["intervals"]["scores"]["all"]["CC"] == record["intervals"]["scores"]["all"]["CC"]


def test_splits_are_averaged_or_pooled_and_videos_drawn_in_both() -> None:
    frames = made_up(parts=3)
    frames.scores["CC"][:5] = np.nan  # the first video has no score in the first split
    table = Table.of(frames, frames.scores["CC"], np.ones(len(frames.frame), bool))
    with np.errstate(invalid="ignore"):
        per_split = table.video_means()
    assert np.isnan(per_split[0, 0])
    assert table.mean("video", True)[0] == pytest.approx(np.mean([np.nanmean(x) for x in per_split]))
    assert table.mean("video", False)[0] == pytest.approx(np.nanmean(per_split))
    assert table.mean("frame", False)[0] == pytest.approx(np.nanmean(frames.scores["CC"]))
    draws = np.random.default_rng(SEED).multinomial(5, [0.2] * 5, RESAMPLES)
    resampled = [np.mean([np.nanmean(np.repeat(x, row)) for x in per_split]) for row in draws if row[0] < 5]
    np.testing.assert_allclose(table.interval("video", True), np.percentile(resampled, [2.5, 97.5]), atol=2e-3)


def test_one_video_has_no_interval_and_none_no_score() -> None:
    one = np.zeros(3, int)
    frames = Frames(
        one, one, np.arange(3), np.ones(3, int), {"CC": np.array([0.1, 0.2, np.nan]), "KL": np.full(3, np.nan)}
    )
    record = summarise(frames, ["a"], PROTOCOL)
    assert record["scores"]["all"] == {"CC": pytest.approx(0.15), "KL": None}
    assert record["scores"]["inconsistent"] == {"CC": None, "KL": None}
    assert record["intervals"]["scores"]["all"] == {"CC": None, "KL": None}
    json.dumps(record, allow_nan=False)


def test_a_small_but_steady_gap_is_found() -> None:
    a, b = made_up(1, shift=0.1), made_up(2)
    found = paired_differences(a, b, "video", False)["groups"]["all"]
    expected = [np.nanmean((a.scores["CC"] - b.scores["CC"])[a.video == v]) for v in range(5)]
    assert found["CC"]["difference"] == pytest.approx(np.mean(expected))
    low, high = found["CC"]["interval"]
    assert 0 < low < np.mean(expected) < high < 0.2
    # Five videos that all agree are one of 32 patterns of signs on either side: no verdict at 5 %.
    assert (found["CC"]["better"], found["CC"]["videos"]) == (None, {"a": 5, "b": 0, "even": 0})
    assert (found["CC"]["p"], found["CC"]["p_holm"]) == (2 / 32, 4 / 32)
    # Of KL a lower value is better.
    assert found["KL"]["difference"] == pytest.approx(-np.mean(expected))
    assert (found["KL"]["better"], found["KL"]["videos"]) == (None, {"a": 5, "b": 0, "even": 0})
    assert found["CC"]["frames"] == sum(LENGTHS) - 2
    # The intervals of the two alone overlap widely: pairing is what finds it.
    alone = [summarise(x, list("abcde"), PROTOCOL)["intervals"]["scores"]["all"]["CC"] for x in (a, b)]
    assert alone[0][0] < alone[1][1]


def test_no_gap_is_no_verdict() -> None:
    a, b = made_up(1), made_up(1)
    b.scores["CC"][:] += np.array([0.3, -0.2, 0.1, -0.3, 0.0])[b.video]
    found = paired_differences(a, b, "video", False)["groups"]["all"]["CC"]
    assert found["interval"][0] < 0 < found["interval"][1]
    assert (found["better"], found["videos"]) == (None, {"a": 2, "b": 2, "even": 1})
    same = paired_differences(a, a, "frame", False)["groups"]["all"]["CC"]
    assert (same["difference"], same["interval"], same["better"]) == (0, [0, 0], None)
    assert same["videos"] == {"a": 0, "b": 0, "even": 5}
    with pytest.raises(ValueError, match="differ in frame"):
        paired_differences(a, dataclasses.replace(a, frame=a.frame + 1), "video", False)


def save(folder: Path, frames: Frames, drop: int = 0, **changes: Any) -> Path:
    """Writes an evaluation as the command does."""
    protocol = dataclasses.replace(PROTOCOL, **changes.pop("protocol", {}))
    record = {
        "dataset": {"name": "made_up", "version": "1.0.0", "splits": ["test"]},
        "predictions": [],
        "protocol": protocol.as_record(),
        **summarise(frames, list("abcde"), protocol),
        "join": "one split",
        "precision": "float64",
        "coverage": {"scored": 37, "missing": 0, "unscored": 0, "beyond": 0},
        "missing": {"videos": [], "frames": {}},
        "versions": {},
        "ground_truth": {"videos": {"a": "1", "b": "2"}},
        "seconds": 1.0,
    } | changes
    rows = [
        {"split": "test", "video": "abcde"[v], "frame": int(f), "label": int(label), "status": "scored"}
        | {m: None if np.isnan(x[i]) else float(x[i]) for m, x in frames.scores.items()}
        for i, (v, f, label) in enumerate(zip(frames.video, frames.frame, frames.label, strict=True))
    ]
    for row in rows[:drop]:
        row["status"] = "missing"
    score_files.write(folder, record, rows)
    return folder


def test_the_command_compares_two_folders(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    a, b = save(tmp_path / "a", made_up(1, shift=0.1)), save(tmp_path / "b", made_up(2))
    assert compare.main([str(a), str(b), f"--out={tmp_path / 'out'}"]) == 0
    printed = capsys.readouterr().out
    record = json.loads((tmp_path / "out/compare.json").read_text())
    expected = paired_differences(made_up(1, shift=0.1), made_up(2), "video", False)["groups"]
    assert record["video"]["groups"] == json.loads(json.dumps(expected))
    assert record["frames"] == {"common": 37, "only_a": 0, "only_b": 0}
    assert "frame" in record
    page = (tmp_path / "out/compare.md").read_text()
    assert page.strip() == printed.strip()
    entry = expected["all"]["CC"]
    assert f"| CC ↑ | {entry['a']:.3f} | {entry['b']:.3f} | {entry['difference']:+.3f} [" in page
    assert f"| 0.125 | 5 videos: too few | 5 : 0 | {sum(LENGTHS) - 2} |" in page
    assert compare.verdict(entry | {"better": "b"}, 2) == "**B**"
    eight = entry | {"videos": {"a": 4, "b": 3, "even": 1}}
    assert [compare.verdict(eight, metrics) for metrics in (6, 7)] == ["not significant", "8 videos: too few"]
    assert "### Consistent frames" in page
    assert "too narrow" in page


def test_what_differs_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    a = save(tmp_path / "a", made_up(1))
    others = {
        "clip": ({"protocol": {"clip": False}}, "differ in protocol clip (True and False)"),
        "version": (
            {"dataset": {"name": "made_up", "version": "2.0.0", "splits": ["test"]}},
            "differ in dataset version ('1.0.0' and '2.0.0')",
        ),
        "frames": ({"drop": 3}, "3 only in"),
        "precision": ({"precision": "float32"}, "differ in precision ('float64' and 'float32')"),
        "older": ({"ground_truth": None}, "older does not say what ground truth it was scored against"),
        "truth": (
            {"ground_truth": {"videos": {"a": "1", "b": "3"}}},
            "differ in ground truth, of 1 videos, such as 'b'",
        ),
    }
    for name, (changes, message) in others.items():
        b = save(tmp_path / name, made_up(2), **changes)
        assert compare.main([str(a), str(b)]) == 2
        assert message in capsys.readouterr().err
    record = compare.compare(score_files.load(a), score_files.load(tmp_path / "frames"), common_frames=True)
    assert record["frames"] == {"common": 34, "only_a": 3, "only_b": 0}
    assert "3 only in A and 0 only in B left out" in compare.markdown(record)
    relabelled = made_up(2)
    relabelled.label[4] = 1
    b = save(tmp_path / "labels", relabelled)
    with pytest.raises(InputError, match="different labels, first at test/a/4"):
        compare.compare(score_files.load(a), score_files.load(b))


def test_folders_without_an_evaluation_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    a = save(tmp_path / "a", made_up(1))
    assert compare.main([str(a), str(tmp_path)]) == 2
    assert f"{tmp_path} holds no evaluation (no scores.json)" in capsys.readouterr().err
    (a / "scores.csv").write_text("split,video\n")
    (a / "scores.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        score_files.load(a)


def test_scores_read_back_to_the_last_bit(tmp_path: Path) -> None:
    frames = made_up(3)
    loaded = score_files.load(save(tmp_path / "a", frames))
    for metric, values in frames.scores.items():
        np.testing.assert_array_equal(loaded.frames.scores[metric], values)
    np.testing.assert_array_equal(loaded.frames.label, frames.label)
    assert loaded.keys[6] == ("test", "b", 1)


@pytest.mark.parametrize(
    ("record", "rows"),
    [
        ("[" * 100_000, "status\n"),
        ("{}", "status\n"),
        ('{"protocol": {"missing": "zero"}}', "status\n" + "x" * 200_000),
    ],
    ids=["nested too deep", "without a protocol", "a field beyond the CSV limit"],
)
def test_a_damaged_evaluation_is_named(tmp_path: Path, record: str, rows: str) -> None:
    (tmp_path / "scores.json").write_text(record)
    (tmp_path / "scores.csv").write_text(rows)
    with pytest.raises(InputError, match="is damaged"):
        score_files.load(tmp_path)
