"""The gate in prediction: one score per point of the grid, the decision from it, and what each option changes."""

import json
from pathlib import Path

import drawn
import jax
import numpy as np
import pytest
from media_files import regular, write_video
from ml_collections import ConfigDict
from tiny_run import add_extra_models

from avsd_jax import predict
from avsd_jax.batch import model_inputs, zeros
from avsd_jax.config.base import completed
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.errors import InputError
from avsd_jax.media.reading import probe
from avsd_jax.prediction import grid_gate
from avsd_jax.prediction.batches import probability_of
from avsd_jax.prediction.clip_stream import Clip, ClipStream
from avsd_jax.prediction.consistency import ConsistencyScorer
from avsd_jax.prediction.decision import Decision
from avsd_jax.prediction.predictor import Prediction, Predictor
from avsd_jax.runs.checkpoint import load_for_inference, save_variables
from avsd_jax.runs.components import Inference

L3NET = {"classifier": "l3net", "classifier_options": {"width": 0.0625, "frame_size": 32, "sample_rate": 8000}}
# Of 40 frames at 25 per second, with a score every 0.25 s.
GRID = [0, 7, 13, 19, 25, 32, 38]


def record(**model: object) -> ConfigDict:
    clip = {"frame_size": [16, 24], "frame_step": 1, "sampler": "vinet", "preprocessing": "vinet"}
    options = L3NET | {"clip_size": 4, "gate": "classifier"} | model
    return ConfigDict({"model_name": "tiny_streams", "model": options, "samples_per_video": 1} | clip)


@pytest.fixture(scope="module")
def variables() -> dict:
    """Seeded weights whose scores are near neither 0 nor 1."""
    add_extra_models()
    parts = Inference.from_config(completed(record()))
    made = drawn.variables(drawn.shapes(parts.model, zeros(parts.spec)))
    return jax.tree.map_with_path(lambda path, x: x * 0.1 if "fc2" in str(path) else x, made)


@pytest.fixture(scope="module")
def checkpoint(variables: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "gated"
    save_variables(folder, record(), variables)
    return folder


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> Predictor:
    return Predictor(checkpoint, batch_size=3)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "video.mp4", regular(40, 25), size=(48, 80))


def predicted(by: Predictor, video: Path, *, stride: int = 1, every: float = 0.25, decision=None) -> list[Prediction]:
    info = probe(video)
    return list(by.predictions(info, by.clips(info, stride, every), decision))


def test_each_point_of_the_grid_is_classified_once_and_its_score_is_held(
    checkpoint: Path, predictor: Predictor, video: Path, monkeypatch: pytest.MonkeyPatch
):
    scorer = ConsistencyScorer(checkpoint)
    clips = ClipStream(probe(video), scorer.spec, None, every=0.25)
    scores = {score.index: score.probability for score in scorer.scores(clips, Decision())}
    assert list(scores) == GRID
    count, real = [], predictor._grid_gate._forward
    monkeypatch.setattr(predictor._grid_gate, "_forward", lambda *given: count.append(1) or real(*given))
    threshold = float(np.median(list(scores.values())))
    found = predicted(predictor, video, decision=Decision(threshold, threshold))
    assert len(count) == len(GRID)
    held = [scores[max(point for point in GRID if point <= index)] for index in range(40)]
    np.testing.assert_allclose([p.probability for p in found], held, atol=1e-6)
    # A point is compared with the threshold by the same number in both programs but for rounding.
    clear = np.abs(np.array(held) - threshold) > 1e-5
    assert (np.array([p.opened for p in found]) == (np.array(held) > threshold))[clear].all()
    assert {p.opened for p in found} == {True, False}
    opened, closed = (predicted(predictor, video, decision=Decision(level, level)) for level in (0.0, 1.0))
    for p, av, v in zip(found, opened, closed, strict=True):
        np.testing.assert_allclose(p.saliency, av.saliency if p.opened else v.saliency, atol=1e-6)
    assert max(np.abs(av.saliency - v.saliency).max() for av, v in zip(opened, closed, strict=True)) > 1e-3
    # A stride changes which frames are predicted, not when they are scored.
    few = predicted(predictor, video, stride=11)
    assert [p.index for p in few] == [0, 11, 22, 33]
    np.testing.assert_allclose([p.probability for p in few], [held[i] for i in (0, 11, 22, 33)], atol=1e-6)


def test_without_a_grid_every_frame_has_the_score_of_the_whole_model(
    predictor: Predictor, variables: dict, video: Path
):
    assert predictor.config.avc_every == 0, "as in records that lack it"
    found = list(predictor.predictions(probe(video), predictor.clips(probe(video))))
    parts = Inference.from_config(predictor.config)
    clips = list(ClipStream(probe(video), parts.spec))
    batch = {key: np.stack([clip.inputs[key] for clip in clips]) for key in clips[0].inputs}
    output = drawn.fast_jit(parts.model.apply)(variables, model_inputs(batch))
    expected = [probability_of(np.asarray(logits)) for logits in output["avc_logits"]]
    np.testing.assert_allclose([p.probability for p in found], expected, atol=1e-5)
    np.testing.assert_array_equal([p.opened for p in found], output["gate"])
    np.testing.assert_allclose(np.stack([p.saliency for p in found]), output["saliency"], atol=1e-5)


def test_hysteresis_follows_the_order_of_time(predictor: Predictor, video: Path):
    scores = [p.probability for p in predicted(predictor, video, every=0.0)]
    decision = Decision(*np.quantile(scores, [0.3, 0.7]).tolist())
    label, expected = None, []
    for score in scores:
        label = decision.label(score, label)
        expected.append(bool(label))
    assert [p.opened for p in predicted(predictor, video, every=0.0, decision=decision)] == expected


def test_a_soft_gate_weighs_both_streams_by_the_probability(
    variables: dict, predictor: Predictor, video: Path, tmp_path: Path
):
    save_variables(tmp_path / "soft", record(gate_mix="soft"), variables)
    soft = Predictor(tmp_path / "soft", batch_size=8)
    found = predicted(soft, video)
    v, av = (predicted(predictor, video, decision=Decision(level, level)) for level in (1.0, 0.0))
    low, high = (np.stack([p.saliency for p in streams]) for streams in (v, av))
    between = np.stack([p.saliency for p in found])
    apart = np.abs(high - low) > 1e-3
    assert (np.minimum(low, high) < between)[apart].all()
    assert (between < np.maximum(low, high))[apart].all()
    with pytest.raises(InputError, match="has a soft gate, .*: leave out the threshold"):
        soft.run(video, tmp_path / "out", decision=Decision(), progress=False)


def test_the_command_line(checkpoint: Path, video: Path, variables: dict, tmp_path: Path, capsys):
    options = [str(video), f"--checkpoint={checkpoint}", "--maps=none"]
    chosen = ["--every=0.5", "--hysteresis=0.2,0.9", "--precision=highest"]
    assert predict.main([*options, f"--out={tmp_path / 'out'}", *chosen]) == 0
    written = json.loads((tmp_path / "out/timeline.json").read_text())
    assert (written["every"], written["hysteresis"], written["precision"]) == (0.5, [0.2, 0.9], "highest")
    probabilities = [row["avc_probability"] for row in written["frames"]]
    assert [k for k in range(1, 40) if probabilities[k] != probabilities[k - 1]] == [13, 25, 38]
    capsys.readouterr()
    save_variables(tmp_path / "plain", record(gate="always"), variables)
    options[1] = f"--checkpoint={tmp_path / 'plain'}"
    assert predict.main([*options, f"--out={tmp_path / 'no'}", "--threshold=0.4"]) == 2
    assert "has no gate by a trained classifier: leave out" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
    assert "calibration" not in load_for_inference(checkpoint)[1]


def test_frames_of_interleaved_sequences_have_the_points_of_their_own_times():
    spec = ClipSpec(clip_size=3, frame_size=(8, 8), frame_step=2, num_maps=3)
    scored = {0, 3, 5, 8}

    def inputs(index: int) -> dict[str, np.ndarray]:
        begins = {"video": np.zeros(1)} if index % 6 < 2 else {}
        return begins | ({"avc_frames": np.array(index)} if index in scored else {})

    clips = (Clip(index, found) for index in range(12) if (found := inputs(index)))
    video = grid_gate._Video(lambda judged: np.zeros((1, 2)), 1.0, Decision(), "model")
    given = {clip.index: clip.inputs[grid_gate._POINT].tolist() for clip in video.sequences(clips, spec)}
    assert given == {0: [0, 0, 3], 1: [0, 3, 5], 6: [5, 8, 8], 7: [5, 8, 8]}
