"""Scores of a classifier on stored videos: the grid, each point once, and the batches of a gated model."""

import dataclasses
import math
from pathlib import Path

import drawn
import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict
from tiny_run import add_extra_models, tiny_config
from videos import memory_store, source_video

from avsd_jax.batch import model_inputs, zeros
from avsd_jax.data import pipeline
from avsd_jax.data.consistency_grid import cell, scored_frame
from avsd_jax.runs.classifier import Classifier
from avsd_jax.runs.components import Inference
from avsd_jax.scoring.consistency import Grid
from avsd_jax.training import score

OPTIONS = {"width": 0.0625, "frame_size": 32, "sample_rate": 8000}
GATED = {"classifier": "l3net", "classifier_options": OPTIONS, "clip_size": 4, "gate": "classifier"}


@given(st.integers(0, 5000), st.sampled_from([12.5, 24.0, 25.0, 29.97, 30000 / 1001, 60.0]), st.floats(0.01, 5))
def test_a_frame_has_the_score_of_the_first_one_of_its_cell(frame: int, fps: float, every: float):
    own = scored_frame(frame, fps, every)
    assert 0 <= own <= frame
    assert cell(own / fps, every) == cell(frame / fps, every)
    assert own == 0 or cell((own - 1) / fps, every) < cell(own / fps, every)
    assert scored_frame(own, fps, every) == own
    assert scored_frame(frame, fps, 0.0) == frame


def test_points_on_the_grid_are_not_missed_by_rounding():
    # 0.1 s is 2.5 frames at 25 per second: the third is the first one at or after it.
    assert [scored_frame(f, 25.0, 0.1) for f in range(11)] == [0, 0, 0, 3, 3, 5, 5, 5, 8, 8, 10]
    assert [scored_frame(f, 29.97, 1 / 29.97) for f in range(2000)] == list(range(2000))
    assert math.floor(0.3 / 0.1) == 2, "plain division falls short"
    assert cell(0.3, 0.1) == 3


@pytest.fixture(scope="module")
def parts() -> tuple[ConfigDict, Inference, dict]:
    add_extra_models()
    config = tiny_config("", model_name="tiny_streams", model=ConfigDict(GATED), eval_batch_size=4)
    parts = Inference.from_config(config)
    made = drawn.variables(drawn.shapes(parts.model, zeros(parts.spec)))
    return config, parts, jax.tree.map_with_path(lambda path, x: x * 0.1 if "fc2" in str(path) else x, made)


@pytest.fixture(scope="module")
def store():
    return memory_store([source_video("a", num_frames=23), source_video("b", num_frames=9, fps=25.0, seed=1)])


def test_every_point_is_classified_once_and_a_gated_model_gets_its_logits(parts, store, monkeypatch):
    config, inference, variables = parts
    asked, real = [], pipeline.classifier_batches
    monkeypatch.setattr(pipeline, "classifier_batches", lambda *a, **k: asked.extend(a[2]) or real(*a, **k))

    def both(every: float, stride: int) -> tuple[dict, list]:
        asked.clear()
        with config.unlocked():
            config.avc_every = every
        batches = list(score._batches(config, inference, variables, store, stride, None, "real"))
        predict = score.make_predict_fn(inference.model, variables)
        found = {}
        for batch in batches:
            output = predict(batch)
            for i in np.flatnonzero(batch["mask"]):
                where = int(batch["video_index"][i]), int(batch["frame_index"][i])
                found[where] = {key: output[key][i] for key in ("saliency", "gate", "avc_logits")}
        return found, batches

    every_frame, batches = both(0.0, 1)
    assert not asked
    assert "avc_frames" in batches[0]
    held, batches = both(0.25, 1)
    assert {"avc_frames", "avc_audio"}.isdisjoint(batches[0])
    assert asked == [(0, 0), (0, 4), (0, 7), (0, 10), (0, 13), (0, 16), (0, 19), (0, 22), (1, 0), (1, 7)]
    assert held.keys() == every_frame.keys()
    for (video, frame), output in held.items():
        point = every_frame[video, scored_frame(frame, store.videos[video].fps, 0.25)]
        np.testing.assert_allclose(output["avc_logits"], point["avc_logits"], atol=1e-4)
        if abs(np.diff(point["avc_logits"])[0]) > 1e-3:
            assert output["gate"] == point["gate"]
            if every_frame[video, frame]["gate"] == point["gate"]:
                np.testing.assert_allclose(output["saliency"], every_frame[video, frame]["saliency"], atol=1e-5)
    # With a stride longer than a cell every predicted frame has a point of its own.
    both(0.25, 5)
    assert asked == [(0, 0), (0, 4), (0, 10), (0, 13), (0, 19), (1, 0)]


def test_the_temperature_divides_the_logits_and_changes_no_decision(parts, store):
    _, inference, variables = parts
    batch = next(pipeline.eval_batches(store, inference.spec, batch_size=4))
    plain = score.make_predict_fn(inference.model, variables)(batch)
    warm = variables | {"calibration": {"classifier": {"temperature": np.float32(4.0)}}}
    divided = score.make_predict_fn(inference.model, warm)(batch)
    np.testing.assert_allclose(divided["avc_logits"], plain["avc_logits"] / 4, rtol=1e-6)
    for key in ("gate", "saliency"):
        np.testing.assert_array_equal(divided[key], plain[key])
    assert Classifier.of(inference.model, warm).temperature == 4
    assert "calibration" not in Classifier.of(inference.model, warm).variables


def test_a_process_gets_the_logits_of_all(parts, store, monkeypatch):
    _, inference, variables = parts
    classifier = Classifier.of(inference.model, variables)
    frames = [(0, f) for f in range(0, 23, 3)]
    whole = Grid.of(classifier, store, 0.0, frames, batch_size=2)
    assert list(whole.logits) == frames
    shares = []
    for index in (0, 1):
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        monkeypatch.setattr("avsd_jax.scoring.consistency.gather", lambda own: [own])
        shares.append(Grid.of(classifier, store, 0.0, frames, batch_size=4).logits)
    assert shares[0].keys().isdisjoint(shares[1])
    joined = shares[0] | shares[1]
    assert sorted(joined) == frames
    for where, logits in joined.items():
        np.testing.assert_allclose(logits, whole.logits[where], atol=1e-5)


def test_a_subset_of_a_store_holds_the_same_videos(store, tmp_path: Path):
    alone = store.subset([1])
    assert [video.id for video in alone.videos] == ["b"]
    assert alone.parts == {"made up": range(1)}
    np.testing.assert_array_equal(alone.frames(0, [8])[0], store.frames(1, [8])[0])
    np.testing.assert_array_equal(alone.audio(0, 100, 5000), store.audio(1, 100, 5000))
    joined = type(store).join("two", {"x": store, "y": store}).subset([0, 2, 3])
    assert joined.parts == {"x": range(1), "y": range(1, 3)}
    assert [video.id for video in joined.videos] == ["x/a", "y/a", "y/b"]
    np.testing.assert_array_equal(joined.density(2, 3), store.density(1, 3))
    assert dataclasses.replace(joined.videos[2], id="b") == alone.videos[0]


def test_inputs_of_a_classifier_are_those_of_evaluation(parts, store):
    _, inference, _ = parts
    frames = pipeline.eval_targets(store, inference.spec, 4)
    own = pipeline.classifier_batches(store, inference.spec.avc, frames, batch_size=3, num_threads=0)
    whole = pipeline.eval_batches(store, inference.spec, batch_size=3, stride=4, num_threads=0)
    for mine, theirs in zip(own, whole, strict=True):
        assert model_inputs(mine).keys() == {"avc_frames", "avc_audio"}
        for key in mine:
            np.testing.assert_array_equal(mine[key], theirs[key], err_msg=key)
