"""DAVE by its configuration: two steps of a gated model, which is then scored and predicts a file."""

import json
from pathlib import Path

import drawn
import jax
import jax.flatten_util
import numpy as np
import pytest
from config_files import CONFIGS, load
from media_files import regular, write_video
from one_vector import one_vector_step
from videos import memory_store, source_video

from avsd_jax.batch import zeros
from avsd_jax.data.pipeline import train_batches
from avsd_jax.prediction.predictor import Predictor
from avsd_jax.runs.checkpoint import save_variables
from avsd_jax.runs.components import Components, Inference
from avsd_jax.training import score
from avsd_jax.training.hyperparameters import hyperparameters_by_step


def tiny():
    config = load(CONFIGS / "dave.py").get_config("oracle").unlock()
    config.model.update(width=1 / 16, depths=(1, 1, 1, 1), clip_size=4, activation="softplus")
    config.update(frame_size=(64, 64), batch_size=2, total_steps=2, warmup_steps=1, eval_stride=9, eval_batch_size=2)
    config.update(audit=False)
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that was trained for two steps."""
    config = tiny()
    parts = Components.from_config(config)
    store = memory_store([source_video(num_frames=20, size=(40, 60), sample_rate=16000)])
    batches = train_batches(store, parts.spec, batch_size=2, seed=0, num_threads=0)
    variables = drawn.variables(drawn.shapes(parts.model, zeros(parts.spec)))
    state, step, unravel = one_vector_step(parts, variables)
    numbers = hyperparameters_by_step(config, parts)
    for number in range(2):
        batch = parts.step_inputs(next(batches)) | {"avc_label": np.array([1, 0], np.int32)}
        state, metrics = step(state, batch, numbers(number))
        assert all(jax.tree.leaves(metrics["finite"])), metrics
        assert "kl" in metrics
    params = unravel(state.params)
    moved = jax.tree.map(lambda a, b: bool((np.asarray(a) != np.asarray(b)).any()), variables["params"], params)
    assert {part for part, leaves in moved.items() if any(jax.tree.leaves(leaves))} == set(moved)
    folder = tmp_path_factory.mktemp("dave") / "run"
    save_variables(folder, config, {"params": params, "batch_stats": state.batch_stats})
    return folder


@pytest.mark.slow
def test_a_gated_run_is_scored_and_predicts(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    predictor = Predictor(trained, batch_size=2)
    config = predictor.config.unlock()
    store = memory_store([source_video(num_frames=20, size=(40, 60), sample_rate=16000)])
    monkeypatch.setattr(score, "scoring_store", lambda config: store)
    (record,) = score.evaluate(config, Inference.from_config(config), predictor._variables).values()
    assert record["counts"]["frames"]["all"] == 3
    assert np.isfinite(record["scores"]["all"]["KL"])
    assert record["avc"]["gate_open"] is not None
    path = write_video(tmp_path / "video.mp4", regular(10), size=(48, 64))
    result = predictor.run(path, tmp_path / "out", maps="png", stride=4, progress=False)
    timeline = json.loads((tmp_path / "out/timeline.json").read_text())
    assert result.num_frames == len(timeline["frames"]) == 10
    assert (timeline["model"], timeline["gate"]) == ("dave", "labels")
    assert "imported_from" not in timeline
