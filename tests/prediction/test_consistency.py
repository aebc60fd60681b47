"""Consistency of any video over time: the classifier's scores on a grid, held, as labels and files."""

import csv
import json
import math
import tracemalloc
from pathlib import Path

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from media_files import regular, variable, write_video
from ml_collections import ConfigDict

from avsd_jax import avc, avc_labels
from avsd_jax.batch import ClassifierInputs, zeros
from avsd_jax.config.base import completed
from avsd_jax.data import avc_inputs
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.errors import InputError
from avsd_jax.media.reading import read_audio, read_frames
from avsd_jax.media.survey import survey
from avsd_jax.prediction import timeline
from avsd_jax.prediction.clip_stream import ClipStream
from avsd_jax.prediction.consistency import ConsistencyScorer
from avsd_jax.prediction.decision import Decision
from avsd_jax.runs.checkpoint import save_variables
from avsd_jax.runs.components import Inference
from avsd_jax.sources import label_files

L3NET = {"classifier": "l3net", "classifier_options": {"width": 0.0625, "frame_size": 32, "sample_rate": 16_000}}
ONE = ClassifierInputs(num_frames=1, frame_rate=None, frame_size=8, sample_rate=8000, audio_seconds=1.0)
SEVERAL = ClassifierInputs(num_frames=8, frame_rate=16.0, frame_size=8, sample_rate=8000, audio_seconds=2.0)


def record_of_model(name: str, **model: object) -> ConfigDict:
    clip = {"frame_size": [32, 64], "frame_step": 1, "sampler": "vinet", "preprocessing": "vinet"}
    return ConfigDict({"model_name": name, "model": L3NET | model, "samples_per_video": 1} | clip)


@pytest.fixture(scope="module")
def classifier() -> tuple[Inference, dict]:
    """A small L3-Net of seeded weights whose scores are near neither 0 nor 1."""
    parts = Inference.from_config(completed(record_of_model("avc")))
    variables = drawn.variables(drawn.shapes(parts.model, zeros(parts.spec)))
    return parts, jax.tree.map_with_path(lambda path, x: x * 0.1 if "fc2" in str(path) else x, variables)


@pytest.fixture(scope="module")
def checkpoint(classifier: tuple[Inference, dict], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "avc"
    save_variables(folder, record_of_model("avc"), classifier[1])
    return folder


@pytest.fixture(scope="module")
def scorer(checkpoint: Path) -> ConsistencyScorer:
    return ConsistencyScorer(checkpoint)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames at 25 per second: a grid of 0.25 s falls on frames and between them."""
    return write_video(tmp_path_factory.mktemp("video") / "CHI_1_color.mp4", regular(40, 25), size=(48, 80))


GRID = [0, 7, 13, 19, 25, 32, 38]


def table(out: Path) -> list[dict[str, float]]:
    with (out / "consistency.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def record(out: Path) -> dict:
    return json.loads((out / "consistency.json").read_text())


def expected(classifier: tuple[Inference, dict], path: Path) -> list[float]:
    """Probabilities at `GRID`, from the whole file in memory."""
    parts, variables = classifier
    inputs = parts.spec.avc
    frames = [frame.image for frame in read_frames(path)]
    samples = np.pad(read_audio(path, inputs.sample_rate)[0], 10 * inputs.sample_rate)
    spans = [10 * inputs.sample_rate + np.array(avc_inputs.audio_span(index, 25.0, inputs)) for index in GRID]
    resize, normalise = avc_inputs.PREPROCESSING.resize_frame, avc_inputs.PREPROCESSING.normalise
    batch = {
        "avc_frames": np.stack([normalise(resize(frames[i], (32, 32)))[None] for i in GRID]),
        "avc_audio": np.stack([samples[start:stop] for start, stop in spans]),
    }
    logits = drawn.fast_jit(parts.model.apply)(variables, batch)["avc_logits"]
    return np.asarray(jax.nn.softmax(jnp.asarray(logits))[:, 1]).tolist()


def test_the_classifier_scores_a_grid_and_every_frame_has_the_score_before_it(
    scorer: ConsistencyScorer, classifier: tuple[Inference, dict], video: Path, tmp_path: Path
):
    probabilities = expected(classifier, video)
    threshold = float(np.median(probabilities))
    assert 0.01 < min(probabilities) < threshold < max(probabilities) < 0.99
    result = scorer.run(video, tmp_path, decision=Decision(threshold, threshold), progress=False)
    assert [path.name for path in result.files] == ["consistency.csv", "consistency.json", "consistency.png"]
    rows, scores = table(tmp_path), record(tmp_path)["scores"]
    assert [row["frame"] for row in scores] == [index + 1 for index in GRID]
    np.testing.assert_allclose([row["probability"] for row in scores], probabilities, atol=1e-5)
    held = [max(k for k, start in enumerate(GRID) if start <= index) for index in range(40)]
    assert [row["frame"] for row in rows] == list(range(1, 41))
    np.testing.assert_allclose([row["time"] for row in rows], regular(40, 25), atol=1e-6)
    assert [row["probability"] for row in rows] == [scores[k]["probability"] for k in held]
    assert [row["label"] for row in rows] == [scores[k]["label"] for k in held]
    clear = np.abs(np.array(probabilities) - threshold) > 1e-5
    labels = np.array([row["label"] for row in scores])
    np.testing.assert_array_equal(labels[clear], (np.array(probabilities) > threshold)[clear])
    assert 0 < labels.sum() < len(labels)
    assert result.consistent == record(tmp_path)["num_consistent"] == sum(row["label"] for row in rows)


@pytest.mark.parametrize("inputs", [ONE, SEVERAL], ids=["one frame", "several frames"])
@pytest.mark.parametrize("times", [regular(60, 25), variable(60)], ids=["constant rate", "variable rate"])
def test_clips_of_a_grid_are_among_those_of_every_frame(tmp_path: Path, inputs: ClassifierInputs, times: list[float]):
    info = survey(write_video(tmp_path / "video.mp4", times, size=(48, 80))).info
    spec = ClipSpec(clip_size=1, frame_size=(1, 1), avc=inputs, audio=False)
    everything = list(ClipStream(info, spec))
    shown = [frame.time for frame in read_frames(info.path)]
    points = [k * 0.4 for k in range(math.ceil(shown[-1] / 0.4)) if k * 0.4 <= shown[-1]]
    wanted = [next(i for i, time in enumerate(shown) if time >= point - 1e-4) for point in points]
    clips = list(ClipStream(info, spec, None, every=0.4))
    assert [clip.index for clip in clips] == wanted
    for clip in clips:
        assert clip.inputs.keys() == {"avc_frames", "avc_audio"}
        for key, value in clip.inputs.items():
            whole = everything[clip.index].inputs[key]
            np.testing.assert_array_equal(value, whole, err_msg=f"{key} of frame {clip.index}")
    assert [clip.index for clip in ClipStream(info, spec, None, every=0.001)] == list(range(60))


@pytest.mark.slow
@pytest.mark.usefixtures("_usual_collections")
def test_memory_does_not_grow_with_length(scorer: ConsistencyScorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(timeline, "MAX_BINS", 32)  # more than that many frames
    peaks = []
    for count in (80, 320):
        path = write_video(tmp_path / f"{count}.mp4", regular(count, 25), size=(48, 80))
        if not peaks:  # with what is made once
            scorer.run(path, tmp_path / "first", every=0.2, progress=False)
        tracemalloc.start()
        scorer.run(path, tmp_path / str(count), every=0.2, progress=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0], "four times the frames take no more memory"


def test_the_classifier_of_a_gated_run_is_used(
    scorer: ConsistencyScorer, classifier: tuple[Inference, dict], video: Path, tmp_path: Path
):
    parts = {
        collection: {"classifier": tree, "decoder": {"x": np.ones(2)}} for collection, tree in classifier[1].items()
    }
    save_variables(tmp_path / "run", record_of_model("avinet", gate="classifier"), parts)
    gated = ConsistencyScorer(tmp_path / "run", batch_size=2)
    for name, by in (("alone", scorer), ("gated", gated)):
        by.run(video, tmp_path / name, every=0.5, progress=False)
    alone, within = (np.array([row["probability"] for row in table(tmp_path / name)]) for name in ("alone", "gated"))
    np.testing.assert_allclose(within, alone, atol=1e-5)
    assert record(tmp_path / "gated")["classifier"] == "l3net"


@pytest.mark.parametrize(("name", "model"), [("avinet", {"gate": "always"}), ("avinet", {"gate": "classifier"})])
def test_a_run_without_a_classifier_is_refused(tmp_path: Path, name: str, model: dict):
    save_variables(tmp_path / "run", record_of_model(name, **model), {"params": {"decoder": np.ones(2)}})
    with pytest.raises(InputError, match="run has no classifier of audio-visual consistency .avinet, gate .*: give a"):
        ConsistencyScorer(tmp_path / "run")


AWKWARD = {
    "vfr.mkv": (variable(20), {}),
    "turned.mp4": (regular(9), {"size": (97, 131), "pixels": "yuv444p", "rotation": 90}),
    "late.avi": (regular(20, 25), {"codec": "mpeg4", "sound": "pcm_s16le", "rate": 22_050, "sound_seconds": 0.1}),
    "single.mp4": ([0.0], {"sound_seconds": 0.5}),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_videos_have_a_score_for_every_frame(scorer: ConsistencyScorer, tmp_path: Path, name: str):
    times, how = AWKWARD[name]
    path = write_video(tmp_path / name, times, **how)
    result = scorer.run(path, tmp_path / "out", progress=False)
    rows = table(tmp_path / "out")
    np.testing.assert_allclose([row["time"] for row in rows], [frame.time for frame in read_frames(path)], atol=1e-6)
    assert all(0 < row["probability"] < 1 for row in rows)
    assert result.num_frames == len(times)


def test_without_audio_nothing_is_consistent(scorer: ConsistencyScorer, tmp_path: Path):
    path = write_video(tmp_path / "mute.mp4", regular(20), sound=None)
    result = scorer.run(path, tmp_path / "out", progress=False)
    rows = table(tmp_path / "out")
    assert len(rows) == 20
    assert all(math.isnan(row["probability"]) and row["label"] == 0 for row in rows)
    assert record(tmp_path / "out")["scores"] == []
    assert len(result.notes) == 1
    assert result.notes[0].startswith("no audio track: there is nothing to compare")


def test_hysteresis_ignores_what_wavers():
    def labels(decision: Decision, *probabilities: float) -> list[int]:
        found = [None]
        for probability in probabilities:
            found.append(decision.label(probability, found[-1]))
        return found[1:]

    assert labels(Decision(), 0.5, 0.51, 0.5, 0.49) == [0, 1, 0, 0], "as argmax, which a tie does not make consistent"
    assert labels(Decision(0.4, 0.6), 0.55, 0.45, 0.61, 0.41, 0.4, 0.6, 0.7) == [1, 1, 1, 1, 0, 0, 1]
    assert labels(Decision(0.4, 0.6), 0.45, 0.55, 0.61) == [0, 0, 1]
    with pytest.raises(InputError, match=r"hysteresis 0.6,0.4: give two probabilities, the lower one first"):
        Decision(0.6, 0.4)


@pytest.mark.parametrize("place", ["CHI_1_color", "CHI_1_color.csv"])
def test_the_table_becomes_labels_of_a_dataset(scorer: ConsistencyScorer, video: Path, tmp_path: Path, place: str):
    (tmp_path / "root").mkdir()
    out = tmp_path / "scores" / "CHI_1_color"
    scorer.run(video, out, decision=Decision(0.0, 0.0), progress=False)
    if place.endswith(".csv"):
        (tmp_path / "scores" / place).write_text((out / "consistency.csv").read_text())
        (out / "consistency.csv").unlink()
    done = avc_labels.convert(tmp_path / "root", "etmd", tmp_path / "scores", "consistency")
    assert done.written == ("CHI_1_color",)
    np.testing.assert_array_equal(label_files.read(done.folder / "CHI_1_color.csv"), np.ones(40))


def test_files_are_written_together_or_not_at_all(
    scorer: ConsistencyScorer, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    (out / "maps").mkdir(parents=True)
    (out / "maps" / "000000.png").write_text("of a prediction of the same video")
    scorer.run(video, out, progress=False)
    before = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert before.keys() == {"consistency.csv", "consistency.json", "consistency.png", "000000.png"}
    with pytest.raises(InputError, match="holds the consistency of CHI_1_color.mp4: give another --out"):
        scorer.run(write_video(tmp_path / "other.mp4", regular(2)), out, progress=False)

    def fail(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(timeline, "draw", fail)
    for folder in (out, tmp_path / "new" / "deep"):
        with pytest.raises(KeyboardInterrupt):
            scorer.run(video, folder, every=1.0, progress=False)
    assert {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "new").exists()


def test_the_command_line(checkpoint: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    options = [f"--checkpoint={checkpoint}", f"--out={tmp_path / 'out'}"]
    assert avc.main([str(video), *options, "--hysteresis=0,0.5", "--every=1", "--precision=high"]) == 0
    settings = record(tmp_path / "out")
    assert (settings["hysteresis"], settings["precision"]) == ([0, 0.5], "high")
    assert [row["frame"] for row in settings["scores"]] == [1, 26]
    share = settings["num_consistent"] / 40
    assert capsys.readouterr().out == f"40 frames, {share:.1%} consistent: {tmp_path / 'out' / 'consistency.csv'}\n"
    missing = [str(tmp_path / "none.mp4"), f"--checkpoint={checkpoint}", f"--out={tmp_path / 'new'}"]
    assert avc.main(missing) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'none.mp4'} does not exist: give the path of a video file\n"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--every=0"], "argument --every: '0' is not a number from 0.001 to 3600"),
        (["--threshold=nan"], "argument --threshold: 'nan' is not a number from 0 to 1"),
        (["--hysteresis=0.5"], "argument --hysteresis: '0.5' is not LOW,HIGH, as in 0.4,0.6"),
        (["--hysteresis=0.6,0.4"], "argument --hysteresis: '0.6,0.4' begins with the higher one: write 0.4,0.6"),
        (["--threshold=0.5", "--hysteresis=0.4,0.6"], "argument --hysteresis: not allowed with argument --threshold"),
    ],
)
def test_wrong_options_are_named(capsys: pytest.CaptureFixture, arguments: list[str], words: str):
    assert avc.main(["a.mp4", "--checkpoint=x", "--out=y", *arguments]) == 2
    assert capsys.readouterr().err == f"error: {words}: see python -m avsd_jax.avc --help\n"
