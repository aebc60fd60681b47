"""Scoring several datasets in one call: where predictions are looked for, what is missing, the mean, and comparing."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stavis_files
from PIL import Image

from avsd_jax import compare, datasets, evaluate
from avsd_jax.data.catalog import open_store
from avsd_jax.errors import InputError
from avsd_jax.evaluation import published, score_files, several
from avsd_jax.scoring.over_datasets import over_datasets
from avsd_jax.scoring.protocols import NATIVE
from avsd_jax.scoring.summary import Frames, summarise

SETS = ("diem", "coutrot1", "coutrot2")
SPLITS = ("test_1", "test_2", "test_3")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three of the six datasets in small, each with one video to test."""
    files, built = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("data")
    for name in SETS:
        stavis_files.write_set(files, name)
        datasets.build(name, built, manual_dir=files)
    return built


def write_maps(root: Path, data_dir: Path, folders: dict[str, str], seed: int = 0) -> Path:
    """Predictions that are the truth with noise, in a folder per dataset; "" for side by side."""
    for name, folder in folders.items():
        store = open_store(name, "test_1", data_dir)
        for video, index in enumerate(store.videos):
            (root / folder / index.id).mkdir(parents=True)
            for frame in range(index.num_frames):
                noise = np.random.default_rng([seed, video, frame]).integers(0, 120, stavis_files.SIZE)
                levels = store.density(video, frame) // 2 + noise
                Image.fromarray(levels.astype(np.uint8)).save(root / folder / index.id / f"{frame:06d}.png")
    return root


@pytest.fixture(scope="module")
def maps(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folders = {"diem": "DIEM", "coutrot1": "coutrot1", "coutrot2": "Coutrot_db2"}
    return write_maps(tmp_path_factory.mktemp("maps") / "mine", data_dir, folders)


@pytest.fixture(scope="module")
def scored(data_dir: Path, maps: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("scores") / "all"
    found = several.evaluate_several(
        maps, ",".join(SETS), data_dir=data_dir, out=out, protocol="stavis", progress=False
    )
    return out, found


@pytest.mark.slow
def test_each_dataset_is_scored_as_if_alone(
    scored: tuple[Path, dict[str, Any]], maps: Path, data_dir: Path, tmp_path: Path
) -> None:
    out, record = scored
    assert record["dataset"] == {"name": "diem,coutrot1,coutrot2", "splits": list(SPLITS)}
    assert list(record["datasets"]) == list(SETS)
    assert record["skipped"] == {}
    alone = evaluate.evaluate(
        maps / "Coutrot_db2", "coutrot2", SPLITS, data_dir=data_dir, out=tmp_path, protocol="stavis", progress=False
    )
    again = score_files.load(out / "coutrot2").record
    for key in (*alone.keys() - {"seconds", "predictions"},):
        assert again[key] == json.loads(json.dumps(alone[key])), key
    assert [part["folder"] for part in again["predictions"]] == [str(maps / "Coutrot_db2")] * 3
    assert record["datasets"]["diem"]["join"] == "mean of the splits' means"
    assert record["datasets"]["coutrot1"]["join"] == "videos of all splits pooled"
    for metric in ("CC", "SIM", "NSS", "AUC-J"):  # all frames have the same fixations: there is no s-AUC
        each = [own["scores"]["all"][metric] for own in record["datasets"].values()]
        assert record["mean"]["scores"]["all"][metric] == pytest.approx(np.mean(each))
        assert record["mean"]["datasets"]["all"][metric] == 3
        assert record["mean"]["intervals"]["scores"]["all"][metric] is None, "a dataset of one video has no interval"
    assert json.loads((out / "scores.json").read_text()) == json.loads(json.dumps(record, allow_nan=False))


def test_the_report_has_every_dataset_and_the_published_means(scored: tuple[Path, dict[str, Any]]) -> None:
    text = (scored[0] / "scores.md").read_text()
    assert "## Mean over 3 datasets, mean over videos" in text
    assert "means over DIEM, Coutrot1, Coutrot2" in text
    assert "[coutrot1/scores.md](coutrot1/scores.md)" in text
    itti = next(line for line in text.splitlines() if line.startswith("| ITTI "))
    expected = np.mean([published.table4(name)[0].scores["NSS"] for name in SETS])
    assert f" {expected:.3f} " in itti
    rows, left_out = published.table4_means(published.DATASETS)
    assert left_out == ["GradCAM++"]
    assert len(rows) == 17


def command(*arguments: str) -> int:
    return evaluate.main([*arguments, "--protocol=stavis", "--workers=1"])


def test_what_is_missing_is_one_error_and_nothing_is_scored(
    maps: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    some = tmp_path / "some"
    shutil.copytree(maps / "DIEM", some / "diem")
    base = [f"--data_dir={data_dir}", f"--predictions={some}", "--split=test_1", f"--out={tmp_path / 'out'}"]
    assert command(*base, "--dataset=six") == 2
    error = capsys.readouterr().err
    assert "datasets avad, summe, etmd are not built in" in error
    assert "datasets build --dataset=avad,summe,etmd" in error
    assert "no predictions for coutrot1: it has folders for diem" in error
    assert "no predictions for coutrot2: " in error
    assert "--skip_missing scores the others" in error
    assert command(*base, "--dataset=diem,nothing") == 2
    assert "unknown dataset 'nothing'" in capsys.readouterr().err
    assert command(*base, "--dataset=diem,DIEM") == 2
    assert "names one twice" in capsys.readouterr().err
    assert command(*base, "--dataset=diem,coutrot1", "--split=test") == 2
    assert "dataset 'diem' has no split 'test'" in (error := capsys.readouterr().err)
    assert "dataset 'coutrot1' has no split 'test'" in error
    assert command(*base, "--dataset=diem", "--skip_missing") == 2
    assert "belongs to several datasets" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

    assert command(*base, "--dataset=six", "--skip_missing") == 0
    record = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(record["datasets"]) == ["diem"]
    assert record["skipped"] == {"avad": "not built", "summe": "not built", "etmd": "not built"} | dict.fromkeys(
        ("coutrot1", "coutrot2"), "no predictions"
    )
    assert "**Skipped: coutrot1, no predictions.**" in capsys.readouterr().out
    # The folder is that of six datasets, and of no other evaluation.
    assert command(*base, "--dataset=diem") == 2
    assert "holds the scores of another evaluation (dataset six)" in capsys.readouterr().err


def test_videos_may_lie_side_by_side_unless_two_datasets_share_a_name(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    flat = write_maps(tmp_path / "flat", data_dir, {"diem": "", "coutrot1": ""})
    base = [f"--data_dir={data_dir}", f"--predictions={flat}", "--split=test_1"]
    assert command(*base, "--dataset=diem,coutrot1") == 0
    shown = capsys.readouterr()
    out = tmp_path / "flat-scores-diem+coutrot1-stavis-test_1"
    assert f"scores: {out / 'scores.md'}" in shown.out
    assert "is no video of the split" not in shown.err, "the videos of one dataset are not unknown to the other"
    assert score_files.load(out / "coutrot1").record["coverage"]["scored"] == stavis_files.FRAMES - 8
    assert command(*base, "--dataset=diem,coutrot2") == 2
    assert "holds no predictions for the videos of coutrot2" in capsys.readouterr().err
    (flat / "clip1").mkdir()
    assert command(*base, "--dataset=coutrot1,coutrot2", "--split=train_1") == 2
    error = capsys.readouterr().err
    assert "has predictions for 'clip1', which is a video of coutrot1 and of coutrot2: give each" in error


def test_compare_reads_each_dataset_or_all_of_them(
    scored: tuple[Path, dict[str, Any]], data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    other = write_maps(tmp_path / "other", data_dir, {name: name for name in SETS}, seed=1)
    out = tmp_path / "scores"
    several.evaluate_several(other, SETS, SPLITS, data_dir=data_dir, out=out, protocol="stavis", progress=False)
    a, b = scored[0], out
    assert compare.main([str(a / "coutrot1"), str(b / "coutrot1")]) == 0
    one = capsys.readouterr().out
    assert "coutrot1 test_1, test_2, test_3" in one
    assert compare.main([str(a), str(b), f"--out={tmp_path / 'compared'}"]) == 0
    assert one.splitlines()[0] in capsys.readouterr().out
    assert sorted(p.parent.name for p in (tmp_path / "compared").glob("*/compare.json")) == sorted(SETS)
    assert compare.main([str(a), str(b / "diem")]) == 2
    assert "hold different datasets (diem, coutrot1, coutrot2; one dataset)" in capsys.readouterr().err
    with pytest.raises(InputError, match="holds the scores of several datasets: give the folder of one"):
        score_files.load(a)


def test_the_mean_counts_each_dataset_once() -> None:
    rng = np.random.default_rng(0)

    def made_up(videos: int, level: float, label: int) -> Frames:
        video = np.repeat(np.arange(videos), 4)
        scores = {m: level + rng.normal(0, 0.1, len(video)) for m in NATIVE.metrics}
        return Frames(np.zeros(len(video), int), video, np.arange(len(video)), np.full(len(video), label), scores)

    small, large = made_up(5, 0.2, 1), made_up(50, 0.8, -1)
    found = over_datasets([small, large], [False, False], NATIVE)
    means = [one.scores["CC"].mean() for one in (small, large)]
    assert found["scores"]["all"]["CC"] == pytest.approx(np.mean(means))
    assert found["datasets"]["consistent"]["CC"] == 1
    assert found["scores"]["consistent"]["CC"] == pytest.approx(means[0])
    assert found["datasets"]["inconsistent"]["CC"] == 0
    assert found["scores"]["inconsistent"]["CC"] is None
    low, high = found["intervals"]["scores"]["all"]["CC"]
    assert low < found["scores"]["all"]["CC"] < high
    alone = summarise(small, [str(i) for i in range(5)], NATIVE)["intervals"]["scores"]["all"]["CC"]
    assert high - low == pytest.approx((alone[1] - alone[0]) / 2, rel=0.3), "the large one hardly adds to half of it"
