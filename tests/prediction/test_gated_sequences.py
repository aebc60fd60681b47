"""Models that map every frame and have a gate for each: AAM in training, in scoring and in prediction."""

import dataclasses
from pathlib import Path

import aam_case as case
import cv2
import drawn
import jax
import jax.flatten_util
import numpy as np
import pytest
from config_files import CONFIGS, load
from media_files import regular, write_video
from videos import memory_store, source_video

from avsd_jax.batch import zeros
from avsd_jax.data.pipeline import train_batches
from avsd_jax.data.store import VideoStore
from avsd_jax.media.reading import probe, read_frames
from avsd_jax.prediction.decision import Decision
from avsd_jax.prediction.predictor import Predictor
from avsd_jax.runs.checkpoint import save_variables
from avsd_jax.runs.components import Inference
from avsd_jax.training import score

FRAMES = 10
CLASSIFIER = {"width": 0.0625, "frame_size": 32, "sample_rate": 8000}


def configuration(variant: str):
    """A variant of configs/aam.py with the tiny network."""
    config = load(CONFIGS / "aam.py").get_config(variant).unlock()
    config.model.update(case.TINY_OPTIONS | {"classifier": "l3net", "classifier_options": CLASSIFIER})
    config.update(frame_size=(64, 64), init_parts={}, audit=False)
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder of seeded weights whose scores of consistency are near neither 0 nor 1."""
    config = configuration("star")
    parts = Inference.from_config(config)
    made = drawn.variables(drawn.shapes(parts.model, zeros(parts.spec)))
    made = jax.tree.map_with_path(lambda path, x: x * 0.1 if "fc2" in str(path) else x, made)
    made["params"]["fusion"]["relevance_selector_2"]["bias"] += 1
    path = tmp_path_factory.mktemp("run") / "aam"
    save_variables(path, config, made)
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "video.mp4", regular(FRAMES, 25), size=(48, 80))


@pytest.mark.slow
def test_every_frame_has_the_gate_of_its_point_of_the_grid(folder: Path, video: Path):
    predictor, info = Predictor(folder), probe(video)

    def predicted(decision: Decision, stride: int = 1) -> list:
        return list(predictor.predictions(info, predictor.clips(info, stride, 0.1), decision))

    opened, closed = (predicted(Decision(level, level)) for level in (0.0, 1.0))
    assert [p.index for p in opened] == list(range(FRAMES))
    points = [0, 0, 0, 3, 3, 5, 5, 5, 8, 8]
    scores = [p.probability for p in opened]
    assert [scores[point] for point in points] == scores
    assert len(set(scores)) == 4
    threshold = float(np.mean(sorted(set(scores))[1:3]))
    found = predicted(Decision(threshold, threshold))
    assert [p.opened for p in found] == [s > threshold for s in scores]
    for p, av, v in zip(found, opened, closed, strict=True):
        np.testing.assert_allclose(p.saliency, av.saliency if p.opened else v.saliency, rtol=1e-4)
        assert not np.allclose(av.saliency, v.saliency, rtol=5e-3, atol=0)
    few = predicted(Decision(threshold, threshold), stride=4)
    assert [(p.index, p.opened) for p in few] == [(i, found[i].opened) for i in (0, 4, 8)]


@pytest.fixture(scope="module")
def store(video: Path) -> VideoStore:
    """A shorter video, and the file's frames, lossless."""
    whole = source_video("b", num_frames=FRAMES, fps=25.0, size=(48, 80))
    frames = [cv2.imencode(".png", frame.image[..., ::-1])[1].tobytes() for frame in read_frames(video)]
    short = source_video("a", num_frames=4, fps=25.0, size=(48, 80))
    labels = np.array([1, 1, 1, 0, 0, 1, 1, -1, 0, 1], np.int8)
    return memory_store([short, dataclasses.replace(whole, frames=frames, avc_label=labels)])


@pytest.mark.slow
def test_a_run_is_scored_with_a_gate_for_each_frame(folder: Path, store: VideoStore, monkeypatch: pytest.MonkeyPatch):
    predictor = Predictor(folder)
    parts, config = Inference.from_config(predictor.config), predictor.config
    config.update(eval_stride=2, avc_every=0.1)
    monkeypatch.setattr(score, "scoring_store", lambda config: store)
    predict = score.make_predict_fn(parts.model, predictor._variables)
    frames = score.score_frames(config, parts, predictor._variables, predict)
    assert list(zip(frames.video, frames.frame, strict=True)) == [(0, 0), (0, 2)] + [(1, i) for i in range(0, 10, 2)]
    np.testing.assert_array_equal(frames.gate, frames.margin > 0)
    assert len({*frames.margin[2:4]}) == 1, "frames 0 and 2 have one point"
    oracle = parts.model.clone(gate="labels")
    marked = score.score_frames(
        config,
        dataclasses.replace(parts, model=oracle),
        predictor._variables,
        score.make_predict_fn(oracle, predictor._variables),
    )
    np.testing.assert_array_equal(marked.gate, marked.label == 1)
    assert set(marked.gate) == {True, False}


def test_clips_have_audio_and_labels_of_each_frame(store: VideoStore):
    config = configuration("star")
    spec = Inference.from_config(config).spec
    batch = next(train_batches(store, spec, batch_size=4, seed=0, num_threads=0))
    assert {name: x.shape for name, x in zeros(spec, 4).items()} == {name: batch[name].shape for name in zeros(spec)}
    for row in range(4):
        video, first = int(batch["video_index"][row]), int(batch["frame_index"][row])
        frames = np.minimum(first + np.arange(3), store.videos[video].num_frames - 1)
        np.testing.assert_array_equal(batch["frame_labels"][row], store.avc_label(video)[frames])
        sounds = batch["audio"][row].reshape(3, -1)
        # The same sound, two seconds around each frame, at 16 kHz: 640 samples from frame to frame.
        for i, shift in enumerate(640 * np.diff(frames)):
            np.testing.assert_array_equal(sounds[i][shift:], sounds[i + 1][: 32000 - shift])
        assert np.any(sounds[0][16000:16100])
        assert not np.any(sounds[0][: 16000 - 640 * (frames[0] + 1)])
