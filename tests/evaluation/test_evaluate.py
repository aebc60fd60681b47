"""Scoring folders of predictions by command: layouts end to end, what is missing, damage, kills and continuing."""

import csv
import dataclasses
import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from avsd_jax import evaluate
from avsd_jax.data.catalog import open_store
from avsd_jax.data.store import VideoStore
from avsd_jax.data.target_maps import WithTargetMaps
from avsd_jax.errors import InputError
from avsd_jax.evaluation import score_files, scoring_jobs
from avsd_jax.media.reading import VideoInfo
from avsd_jax.media.writing import GreyVideoWriter
from avsd_jax.metrics import METRICS
from avsd_jax.scoring import protocols
from avsd_jax.scoring.scorer import Scorer

ROOT = Path(__file__).parents[2]
DOCUMENTATION = ROOT / "docs/evaluation.md"
TINY = "sounding_shapes/tiny"
SIZE = (64, 96)


@pytest.fixture(scope="module")
def store(tiny_data_dir: Path) -> VideoStore:
    return open_store(TINY, "test", tiny_data_dir)


def levels(store: VideoStore, video: int, frame: int) -> np.ndarray:
    """A prediction that is right but for noise."""
    rng = np.random.default_rng([video, frame])
    mixed = store.density(video, frame) + rng.integers(0, 90, SIZE)
    return (mixed * 255 / mixed.max()).astype(np.uint8)


def write_pngs(store: VideoStore, root: Path, name: str = "{:06d}.png", first: int = 0, every: int = 1) -> Path:
    for video, index in enumerate(store.videos):
        (root / index.id).mkdir(parents=True)
        for frame in range(0, index.num_frames, every):
            Image.fromarray(levels(store, video, frame)).save(root / index.id / name.format(frame + first))
    return root


def run(predictions: Path, data_dir: Path, out: Path, **options: Any) -> dict[str, Any]:
    return evaluate.evaluate([predictions], TINY, data_dir=data_dir, out=out, progress=False, **options)


@pytest.fixture(scope="module")
def maps(store: VideoStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pngs(store, tmp_path_factory.mktemp("predictions") / "maps")


@pytest.fixture(scope="module")
def scored(maps: Path, tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("scores")
    return out, run(maps, tiny_data_dir, out)


def numbers(record: dict[str, Any]) -> dict[str, Any]:
    return {key: record[key] for key in ("scores", "frame_scores", "intervals", "nan", "counts", "videos")}


def test_the_documented_command_scores_a_folder_of_pngs(
    maps: Path, tiny_data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    section = DOCUMENTATION.read_text().split("## Scoring your own model")[1].split("\n## ")[0]
    command = re.search(r"^python -m avsd_jax\.evaluate (.*)$", section, re.M)[1]
    folder = tmp_path / "my_maps"
    shutil.copytree(maps, folder)
    places = {"my_maps": str(folder), "sounding_shapes": TINY, "data": str(tiny_data_dir)}
    arguments = [f"{flag}={places[value]}" for flag, value in (word.split("=") for word in shlex.split(command))]
    assert evaluate.main([*arguments, "--workers=1"]) == 0
    out = tmp_path / "my_maps-scores-sounding_shapes.tiny-native-test"
    assert f"scores: {out / 'scores.md'}" in capsys.readouterr().out
    assert {p.name for p in out.iterdir()} == {"scores.json", "scores.csv", "scores.md", "videos"}
    assert out.name.replace(".tiny", "") in section.replace("\n", " ")


def test_record(scored: tuple[Path, dict[str, Any]], maps: Path, store: VideoStore, tiny_data_dir: Path) -> None:
    out, record = scored
    assert json.loads((out / "scores.json").read_text()) == json.loads(json.dumps(record, allow_nan=False))
    written = [json.loads(path.read_text()) for path in tiny_data_dir.rglob("metadata.json")]
    options = next(metadata["settings"] for metadata in written if "settings" in metadata)
    digest = record["dataset"]["digest"]
    assert {k: v for k, v in record["dataset"].items() if k != "digest"} == {
        "name": TINY,
        "version": "1.1.0",
        "splits": ["test"],
        "options": options,
    }
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert record["ground_truth"]["videos"].keys() == record["videos"].keys()
    assert record["predictions"] == [
        {"folder": str(maps), "split": "test", "layout": "numbered", "encoding": "images as they are"}
        | {"first_frame": 0, "unused": []}
    ]
    assert record["protocol"] == protocols.NATIVE.as_record()
    assert record["coverage"] == {"scored": 120, "missing": 0, "unscored": 0, "beyond": 0}
    assert record["missing"] == {"videos": [], "frames": {}}
    labels = np.concatenate([store.avc_label(v) for v in range(3)])
    assert record["counts"]["frames"] == {
        "all": 120,
        "consistent": (labels == 1).sum(),
        "inconsistent": (labels == 0).sum(),
    }
    assert record["counts"]["unlabelled"] == (labels == -1).sum() > 0
    with (out / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["label"]) for row in rows] == labels.tolist()
    assert {row["status"] for row in rows} == {"scored"}
    for metric in METRICS:
        values = np.array([float(row[metric]) for row in rows])
        assert record["frame_scores"]["all"][metric] == pytest.approx(values.mean())
        consistent = [values[40 * v : 40 * v + 40][labels[40 * v : 40 * v + 40] == 1] for v in range(3)]
        expected = np.mean([v.mean() for v in consistent if len(v)])
        assert record["scores"]["consistent"][metric] == pytest.approx(expected)
        low, high = record["intervals"]["scores"]["all"][metric]
        assert low <= record["scores"]["all"][metric] <= high
    page = (out / "scores.md").read_text()
    for word in ("All frames", "Consistent frames", "s-AUC ↑", "KL ↓", f"| {record['scores']['all']['CC']:.3f} ["):
        assert word in page
    assert "Table IV" not in page


@pytest.mark.parametrize("kind", ["stavis", "vinet", "npz"])
def test_layouts_give_the_same_numbers(
    kind: str, scored: tuple[Path, dict[str, Any]], maps: Path, store: VideoStore, tiny_data_dir: Path, tmp_path: Path
) -> None:
    _, record = scored
    root = tmp_path / "maps"
    for index in store.videos:
        files = sorted((maps / index.id).iterdir())
        (root / index.id / "maps").mkdir(parents=True)
        if kind == "npz":
            values = np.stack([np.asarray(Image.open(path)) for path in files]) / np.float64(255)
            np.savez(
                root / index.id / "maps/000000.npz", saliency=values[:25], frames=np.arange(25), times=np.zeros(25)
            )
            np.savez_compressed(root / index.id / "maps/000025.npz", saliency=values[25:], frames=np.arange(25, 40))
        pattern = {"stavis": "pred_sal_{:06d}.png", "vinet": "img_{:05d}.png"}.get(kind)
        for frame, path in enumerate(files if pattern else []):
            shutil.copy(path, root / index.id / pattern.format(frame + 1))
        if pattern:
            (root / index.id / "maps").rmdir()
    found = run(root, tiny_data_dir, tmp_path / "out", protocol="native")
    assert found["predictions"][0]["layout"] == kind
    assert found["predictions"][0]["first_frame"] == (0 if kind == "npz" else 1)
    for average in ("scores", "frame_scores"):
        for group, values in record[average].items():
            assert found[average][group] == pytest.approx(values, abs=1e-12)


def test_missing_frames_and_videos_are_named_and_count_as_the_protocol_says(
    maps: Path, store: VideoStore, tiny_data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = tmp_path / "maps"
    shutil.copytree(maps, root)
    first, second, third = (index.id for index in store.videos)
    shutil.rmtree(root / third)
    (root / "misspelt").mkdir()
    for frame in (3, 10, 11, 12):
        (root / first / f"{frame:06d}.png").unlink()
    shutil.copy(root / second / "000000.png", root / second / "000040.png")
    out = tmp_path / "out"
    base = [f"--predictions={root}", f"--dataset={TINY.upper()[:15]}/tiny", f"--data_dir={tiny_data_dir}"]
    assert evaluate.main([*base, "--protocol=stavis", f"--out={out}", "--workers=1"]) == 0
    said = capsys.readouterr().err
    assert f"no prediction: video {third}" in said
    assert f"no prediction: {first}, frames 10-12 (counted from 0)" in said
    dropped = json.loads((out / "scores.json").read_text())
    assert dropped["coverage"] == {"scored": 32 - 3 + 32, "missing": 3 + 32, "unscored": 24, "beyond": 1}
    assert dropped["missing"] == {"videos": [third], "frames": {first: "10-12"}}
    assert dropped["predictions"][0]["unused"] == ["misspelt"]
    assert list(dropped["protocol"]["metrics"]) == list(protocols.TABLE_METRICS)
    assert "frame_scores" not in dropped
    assert third not in dropped["videos"]
    page = (out / "scores.md").read_text()
    assert f"**Videos without any prediction:** {third}" in page
    assert "misspelt" in page

    zeroed = dataclasses.replace(protocols.STAVIS, name="zeroed", missing="zero")
    zero = run(root, tiny_data_dir, tmp_path / "zero", protocol=zeroed)
    assert zero["videos"][third]["all"] == dict.fromkeys(protocols.TABLE_METRICS, 0.0)
    for metric in protocols.TABLE_METRICS:
        with_all = dropped["videos"][first]["all"][metric] * 29 / 32
        assert zero["videos"][first]["all"][metric] == pytest.approx(with_all)
        mean = np.mean([with_all, dropped["videos"][second]["all"][metric], 0])
        assert zero["scores"]["all"][metric] == pytest.approx(mean)


def spoilt(store: VideoStore, maps: Path, root: Path) -> Path:
    """The maps of the first video, of which frames 2 and 3 are constant and 5 is of zeros."""
    first = store.videos[0].id
    shutil.copytree(maps / first, root / first)
    for frame, level in ((2, 9), (3, 9), (5, 0)):
        Image.fromarray(np.full(SIZE, level, np.uint8)).save(root / first / f"{frame:06d}.png")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["native", "stavis"])
def test_maps_without_a_score_are_counted_and_count_as_asked(
    protocol: str, store: VideoStore, maps: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    chosen = protocols.get(protocol)
    first = store.videos[0].id
    if protocol == "stavis":  # its first 8 frames have no score
        chosen = dataclasses.replace(chosen, unscored_start=0)
    root = spoilt(store, maps, tmp_path / "maps")
    omit = run(root, tiny_data_dir, tmp_path / "omit", protocol=chosen)
    counted = dict.fromkeys(chosen.metrics, 3)
    assert omit["undefined"] == {"rule": "dropped", "metrics": counted, "frames": {first: "2-3, 5"}}
    assert omit["nan"]["all"] == counted
    assert (
        f"3 constant maps, for which most metrics do not exist: {first}, frames 2-3, 5" in omit["maps"]["remarks"][-1]
    )
    page = (tmp_path / "omit/scores.md").read_text()
    assert f"| **no score: map** |  |  | {' | '.join(['3'] * len(counted))} |" in page
    worst = run(root, tiny_data_dir, tmp_path / "worst", protocol=chosen, undefined="worst")
    assert worst["protocol"]["name"] == f"{protocol}, undefined=worst"
    assert set(worst["nan"]["all"].values()) == {0}
    pixels = SIZE[0] * SIZE[1]
    bounds = {"CC": -1, "SIM": 0, "AUC-J": 0, "s-AUC": 0, "NSS": -(pixels - 1) / np.sqrt(pixels), "KL": 52 * np.log(2)}
    for metric in chosen.metrics:
        expected = (37 * omit["videos"][first]["all"][metric] + 3 * bounds[metric]) / 40
        assert worst["videos"][first]["all"][metric] == pytest.approx(expected)
    with pytest.raises(InputError, match=rf"3 predictions have no score .*CC 3.* video '{first}', frame 2: .*=worst"):
        run(root, tiny_data_dir, tmp_path / "error", protocol=chosen, undefined="error")
    assert not list((tmp_path / "error").glob("scores.*"))
    good = run(maps, tiny_data_dir, tmp_path / "good", protocol=chosen, undefined="error")
    assert good["undefined"] == {"rule": "error", "metrics": dict.fromkeys(chosen.metrics, 0), "frames": {}}
    with pytest.raises(InputError, match="unknown undefined 'zero': choose one of omit, worst, error"):
        run(root, tiny_data_dir, tmp_path / "error", undefined="zero")


@pytest.mark.slow
def test_what_nobody_looked_at_is_no_fault_of_the_map(store: VideoStore) -> None:
    scorer = Scorer(store)
    assert scorer.possible(0, [0, 3]) == {0: frozenset(METRICS), 3: frozenset(METRICS)}
    # The MATLAB code gives a frame without density an SIM of 0.
    nobody = WithTargetMaps(store, lambda video, frame: np.zeros(SIZE, np.uint8))
    for protocol, left in ((protocols.NATIVE, set()), (protocols.STAVIS, {"SIM"})):
        assert Scorer(nobody, protocol).possible(0, [1]) == {1: frozenset(left)}


def test_negative_maps_are_named_and_their_divergence_counted(
    store: VideoStore, tiny_data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "maps").mkdir()
    values = np.stack([levels(store, 0, frame) for frame in range(40)]) / 255
    values[[3, 9]] -= 0.3
    np.savez(tmp_path / "maps" / f"{store.videos[0].id}.npz", saliency=values)
    command = [f"--predictions={tmp_path / 'maps'}", f"--dataset={TINY}", f"--data_dir={tiny_data_dir}", "--workers=1"]
    assert evaluate.main([*command, f"--out={tmp_path / 'out'}"]) == 0
    said = capsys.readouterr()
    assert "note: 2 maps with negative values, for which KL does not exist" in said.err
    assert f"{store.videos[0].id}, frames 3, 9" in said.err
    assert "warning: frames without a score because of their map: KL 2 (left out of the means;" in said.err
    assert "| **no score: map** |  |  | 0 | 0 | 0 | 2 | 0 | 0 |" in said.out
    assert "note: 3 maps" not in said.err


def test_colour_and_counting_are_as_told_and_decide_what_is_scored_again(
    store: VideoStore, maps: Path, tiny_data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    first, root, out = store.videos[0].id, tmp_path / "maps", tmp_path / "out"
    (root / first).mkdir(parents=True)
    for frame in range(40):
        heat = cv2.applyColorMap(levels(store, 0, frame), cv2.COLORMAP_JET)
        cv2.imwrite(str(root / first / f"img_{frame:05d}.png"), heat)
    command = [f"--predictions={root}", f"--dataset={TINY}", f"--data_dir={tiny_data_dir}", "--workers=1"]
    refused = fail([*command, f"--out={out}"], capsys)
    assert f"{first}/img_00000.png is in colour (a heat map: jet?)" in refused
    assert not list(out.glob("scores.*"))
    assert evaluate.main([*command, f"--out={out}", "--colour_maps=colormap:jet"]) == 0
    said = capsys.readouterr().err
    assert "note: 40 maps in colour read back by the colour map jet" in said
    assert "frames are counted from 0" in said
    assert "--first_frame=1 if not" in said
    plain = run(maps, tiny_data_dir, tmp_path / "plain")["videos"][first]["all"]
    jet = json.loads((out / "scores.json").read_text())
    assert jet["videos"][first]["all"] == pytest.approx(plain, abs=0.01)
    assert jet["maps"]["colour_maps"] == "colormap:jet"
    # By another rule the finished video is another.
    assert evaluate.main([*command, f"--out={out}", "--colour_maps=luminance"]) == 0
    by_luminance = json.loads((out / "scores.json").read_text())["videos"][first]["all"]
    assert abs(by_luminance["CC"] - plain["CC"]) > 0.02
    # The flag wins over the names: one map lies before the start.
    assert evaluate.main([*command, f"--out={out}", "--colour_maps=luminance", "--first_frame=1"]) == 0
    told = json.loads((out / "scores.json").read_text())
    assert (told["coverage"]["scored"], told["coverage"]["beyond"]) == (39, 1)
    assert f"1 of video {first}" in capsys.readouterr().err


def test_maps_with_swapped_axes_are_refused(store: VideoStore, tiny_data_dir: Path, tmp_path: Path) -> None:
    values = np.stack([levels(store, 0, frame).T for frame in range(40)])
    (tmp_path / "maps").mkdir()
    np.savez(tmp_path / "maps" / f"{store.videos[0].id}.npz", saliency=values)
    with pytest.raises(InputError, match=r"are 96x64 \(height x width\).*with swapped axes"):
        run(tmp_path / "maps", tiny_data_dir, tmp_path / "out")
    assert not list((tmp_path / "out").glob("scores.*"))


def test_splits_are_averaged_or_pooled(store: VideoStore, maps: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    train = open_store(TINY, "train", tiny_data_dir)
    folder = write_pngs(train, tmp_path / "train", every=20)
    means, records = [], {}
    for name, datasets in (("mean", ("sounding_shapes",)), ("pooled", ())):
        protocol = dataclasses.replace(protocols.NATIVE, mean_of_splits=datasets)
        records[name] = evaluate.evaluate(
            [folder, maps],
            TINY,
            ("train", "test"),
            data_dir=tiny_data_dir,
            out=tmp_path / name,
            protocol=protocol,
            progress=False,
        )
    videos = records["mean"]["videos"]
    assert len(videos) == 7
    by_split = [[v["all"]["CC"] for k, v in videos.items() if k.startswith(s)] for s in ("train/", "test/")]
    means = [np.mean(values) for values in by_split]
    assert records["mean"]["scores"]["all"]["CC"] == pytest.approx(np.mean(means))
    assert records["pooled"]["scores"]["all"]["CC"] == pytest.approx(np.mean(sum(by_split, [])))
    assert records["mean"]["join"] != records["pooled"]["join"]
    assert records["mean"]["missing"]["frames"][f"train/{train.videos[0].id}"] == "1-19, 21-39"


def test_finished_videos_are_scored_again_only_when_something_changed(
    maps: Path, store: VideoStore, tiny_data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "maps"
    shutil.copytree(maps, root)
    scored: list[int] = []
    real = scoring_jobs.score_video
    monkeypatch.setattr(scoring_jobs, "score_video", lambda job: (scored.append(job.video), real(job))[1])
    first = run(root, tiny_data_dir, tmp_path / "out")
    assert sorted(scored) == [0, 1, 2]
    assert numbers(run(root, tiny_data_dir, tmp_path / "out")) == numbers(first)
    assert len(scored) == 3
    # Another prediction: its video alone.
    Image.fromarray(levels(store, 2, 7)).save(root / store.videos[1].id / "000005.png")
    changed = run(root, tiny_data_dir, tmp_path / "out")
    assert scored[3:] == [1]
    assert changed["videos"][store.videos[0].id] == first["videos"][store.videos[0].id]
    assert changed["videos"][store.videos[1].id] != first["videos"][store.videos[1].id]
    # A damaged result, as a full disk might leave: that video.
    result = next((tmp_path / "out/videos/test").glob(f"{store.videos[0].id}.json"))
    result.write_text(result.read_text()[:100])
    run(root, tiny_data_dir, tmp_path / "out")
    assert scored[4:] == [0]
    # Another protocol: all.
    run(root, tiny_data_dir, tmp_path / "out", protocol=dataclasses.replace(protocols.NATIVE, smooth_sigma=2.0))
    assert sorted(scored[5:]) == [0, 1, 2]


def fail(arguments: list[str], capsys: pytest.CaptureFixture) -> str:
    assert evaluate.main(arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    return said


def test_mistakes_are_one_clear_line(
    maps: Path, store: VideoStore, tiny_data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    base = [f"--data_dir={tiny_data_dir}", f"--out={tmp_path / 'out'}", "--workers=1"]
    good, tiny = f"--predictions={maps}", f"--dataset={TINY}"
    assert "unknown protocol 'mit': choose one of native" in fail([*base, good, tiny, "--protocol=mit"], capsys)
    assert "unknown dataset 'nothing'" in fail([*base, good, "--dataset=nothing"], capsys)
    six = fail([*base, good, "--dataset=six"], capsys)
    assert "datasets diem, avad, coutrot1, coutrot2, summe, etmd are not built in" in six
    assert "has no split 'dev': choose one of test, train" in fail([*base, good, tiny, "--split=dev"], capsys)
    assert "workers=0: give 1 or more" in fail([*base, good, tiny, "--workers=0"], capsys)
    assert "give each once" in fail([*base, good, tiny, "--split=test,test"], capsys)
    assert "2 folders of predictions for 1 splits" in fail([*base, f"{good},{maps}", tiny], capsys)
    assert "no folder /none/such" in fail([*base, "--predictions=/none/such", tiny], capsys)
    wrong = fail([*base, f"--predictions={maps / store.videos[0].id}", tiny], capsys)
    assert "holds no predictions for the videos of sounding_shapes/tiny (test_00000, " in wrong
    assert "looked for <video>/pred_sal_000009.jpg (STAViS), <video>/img_00001.jpg (ViNet)" in wrong
    assert "it has 000000.png, 000001.png, " in wrong
    (tmp_path / "file").write_text("")
    assert "file cannot be created (File exists): give another folder" in fail(
        [*base, f"--out={tmp_path / 'file'}", good, tiny], capsys
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_damaged_picture_is_named(
    workers: int, maps: Path, store: VideoStore, tiny_data_dir: Path, tmp_path: Path
) -> None:
    root = tmp_path / "maps"
    shutil.copytree(maps, root)
    broken = root / store.videos[1].id / "000020.png"
    broken.write_bytes(broken.read_bytes()[:-300])
    with pytest.raises(InputError, match=re.escape(f"{broken} is damaged or not an image")):
        run(root, tiny_data_dir, tmp_path / "out", workers=workers)
    assert not list((tmp_path / "out").glob("scores.*"))
    assert not list((tmp_path / "out").rglob(f"{store.videos[1].id}*"))


@pytest.mark.parametrize(
    ("frames", "value", "message"),
    [([0, 1], np.nan, "frame 1, has values that are not finite"), ([3, 3], 0.5, "have frame 3 twice: keep one")],
)
def test_archives_that_would_spoil_a_mean_are_refused(
    frames: list[int], value: float, message: str, store: VideoStore, tiny_data_dir: Path, tmp_path: Path
) -> None:
    maps = np.random.default_rng(0).random((2, 9, 9))
    maps[1, 4, 4] = value
    (tmp_path / "maps").mkdir()
    np.savez(tmp_path / "maps" / f"{store.videos[0].id}.npz", saliency=maps, frames=np.array(frames))
    with pytest.raises(InputError, match=message):
        run(tmp_path / "maps", tiny_data_dir, tmp_path / "out")


@pytest.mark.slow
def test_a_killed_run_continues(store: VideoStore, maps: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    root = tmp_path / "maps"
    shutil.copytree(maps, root)
    # Maps of sizes of their own: each video takes its time to compile.
    for video, height in ((1, 50), (2, 70)):
        for path in (root / store.videos[video].id).iterdir():
            Image.open(path).resize((80, height)).save(path)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "avsd_jax.evaluate", f"--predictions={root}", f"--dataset={TINY}"]
    command += [f"--data_dir={tiny_data_dir}", f"--out={out}", "--workers=2", "--precision=float32"]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    deadline = time.monotonic() + 400
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE) as process:
        try:
            while not list((out / "videos/test").glob("*.json")):
                assert process.poll() is None, process.stderr.read().decode()
                assert time.monotonic() < deadline
                time.sleep(0.005)
        finally:
            process.send_signal(signal.SIGKILL)
        # Reading to the end of the pipe waits for all its holders: the workers have exited, too.
        while select.select([process.stderr], [], [], max(0.0, deadline - time.monotonic()))[0]:
            if not os.read(process.stderr.fileno(), 1000):
                break
        else:
            pytest.fail("a worker outlives the killed command")
    done = list((out / "videos/test").glob("*.json"))
    assert 1 <= len(done) < 3
    assert not list(out.glob("scores.*"))
    before = {path: path.stat().st_mtime_ns for path in done}
    continued = run(root, tiny_data_dir, out, precision="float32")
    assert before == {path: path.stat().st_mtime_ns for path in done}
    whole = run(root, tiny_data_dir, tmp_path / "whole", precision="float32")
    for group, values in numbers(whole)["scores"].items():
        # The killed run's workers compute with one thread, whose sums round otherwise.
        assert continued["scores"][group] == pytest.approx(values, abs=1e-5)
    assert not list(out.rglob(".*"))


def test_a_grey_video_of_maps_scores_as_images_and_beam_as_processes(
    scored: tuple[Path, dict[str, Any]], store: VideoStore, tiny_data_dir: Path, tmp_path: Path
) -> None:
    """On Beam's own runner, in this process; tests/prediction has one of two processes."""
    pytest.importorskip("apache_beam", reason="Beam is not installed")
    for number, video in enumerate(store.videos):
        folder = tmp_path / "videos" / video.id / "maps"
        folder.mkdir(parents=True)
        info = VideoInfo(folder, "", *SIZE[::-1], 25.0, None, None, Fraction(1), 0.0, None)
        writer = GreyVideoWriter(folder / "saliency.mp4", info)
        for frame in range(video.num_frames):
            writer.write(levels(store, number, frame), frame / 25)
        writer.close()
    with pytest.raises(InputError, match="--other_forms=read reads .npy and .mat arrays, grey videos"):
        run(tmp_path / "videos", tiny_data_dir, tmp_path / "plain")
    plain = run(tmp_path / "videos", tiny_data_dir, tmp_path / "plain", other_forms=True)
    assert plain["predictions"][0]["layout"] == "video"
    assert plain["scores"]["all"] == pytest.approx(scored[1]["scores"]["all"], abs=0.02)
    record = run(tmp_path / "videos", tiny_data_dir, tmp_path / "scores", other_forms=True, beam_options=[])
    assert numbers(record) == numbers(plain)
    assert not list((tmp_path / "scores").rglob(".*"))
    (tmp_path / "videos" / store.videos[0].id / "maps/saliency.mp4").write_bytes(b"damaged")
    with pytest.raises(InputError, match="saliency.mp4 cannot be read as a video"):
        run(tmp_path / "videos", tiny_data_dir, tmp_path / "scores", other_forms=True, beam_options=[])


def test_a_page_for_one_of_the_six_sets_shows_table_iv(scored: tuple[Path, dict[str, Any]]) -> None:
    _, record = scored
    page = score_files.markdown(record | {"dataset": {"name": "etmd", "version": "1.0.0", "splits": ["test"]}})
    lines = page.splitlines()
    ours, published = (next(line for line in lines if line.startswith(f"| {name}")) for name in ("**ours", "AViNet# "))
    assert f"**{record['scores']['all']['CC']:.3f}**" in ours
    assert "0.931" not in ours
    assert "fully-supervised" in published
    assert "Not directly comparable" in page
    assert "Left out: GradCAM++ (columns shifted in print)." in page
    assert "| GradCAM++ |" not in page
    by_protocol = record | {"dataset": {"name": "DIEM", "splits": []}, "protocol": protocols.STAVIS.as_record()}
    page = score_files.markdown(by_protocol)
    assert "Not directly comparable" not in page
    assert "AViNet* by L3Net" in page


def _die(job: Any) -> None:
    os._exit(1)


@pytest.mark.slow
def test_a_worker_that_dies_is_one_clear_line(maps: Path, tiny_data_dir: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(scoring_jobs, "score_video", _die)
    with pytest.raises(InputError, match="a worker process died.*fewer --workers"):
        run(maps, tiny_data_dir, tmp_path / "out", workers=2)
