"""Scores during training: what is logged, which step is kept, and that processes and restarts change neither."""

import pathlib

import devices
import jax
import numpy as np
import pytest
from test_train import assert_same_variables, finish, job
from tiny_run import add_extra_models, tiny_config

from avsd_jax.errors import InputError
from avsd_jax.metrics import METRICS
from avsd_jax.runs.checkpoint import load_for_inference, saved_steps
from avsd_jax.training import best_step, loop
from avsd_jax.training.metric_writer import read_scalars

ON_THE_WAY = {"evaluate_every": 2, "evaluate_videos": 1, "evaluate_stride": 20, "total_steps": 7, "log_every": 4}


@pytest.fixture(autouse=True)
def _one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    devices.train_on_one(monkeypatch)


def scored(folder: pathlib.Path) -> dict[int, dict[str, float]]:
    lines = read_scalars(folder / "metrics.jsonl")
    assert len({line["step"] for line in lines}) == len(lines), "a step has one line"
    return {line["step"]: {m: line[f"test/{m}"] for m in METRICS} for line in lines if "test/CC" in line}


@pytest.mark.slow
def test_the_best_step_is_a_model_folder_and_a_restart_keeps_it(
    tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_extra_models()
    # Real scores of such a short run barely differ: these make step 4 the best, and step 6 as good.
    given = {2: 0.1, 4: 0.3, 6: 0.3, 7: 0.2}
    real, variables = best_step.score_part, {}

    def score_part(config, parts, store, of_step):
        step = list(given)[len(variables) % len(given)]
        variables[step] = of_step
        scores = real(config, parts, store, of_step)
        assert set(scores) == set(METRICS)
        assert -1 <= scores["CC"] <= 1
        return scores | {"CC": given[step]}

    monkeypatch.setattr(best_step, "score_part", score_part)
    config = tiny_config(tiny_data_dir, **ON_THE_WAY, ema_decay=0.5)
    loop.train(config, tmp_path)
    assert {step: scores["CC"] for step, scores in scored(tmp_path).items()} == given
    assert saved_steps(tmp_path / "best") == [4]
    record, best = load_for_inference(tmp_path / "best")
    assert record.best_metric == "CC"
    for a, b in zip(jax.tree.leaves(best), jax.tree.leaves(dict(variables[4])), strict=True):
        np.testing.assert_array_equal(a, b)
    # A later part of the run replaces it only with a better score, by the metric of today.
    variables.clear()
    given.clear()
    given.update({8: 0.3, 9: 0.9})
    with config.unlocked():
        config.total_steps = 8
    loop.train(config, tmp_path)
    assert saved_steps(tmp_path / "best") == [4]
    with config.unlocked():
        config.total_steps = 9
    loop.train(config, tmp_path)
    assert saved_steps(tmp_path / "best") == [9]
    assert load_for_inference(tmp_path)[0].total_steps == 9
    with pytest.raises(InputError, match="best_metric.*choose one of"):
        loop.train(tiny_config(tiny_data_dir, **ON_THE_WAY, best_metric="PSNR"), tmp_path / "new")


def test_a_lower_divergence_is_better(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path, monkeypatch) -> None:
    add_extra_models()
    values = iter([2.0, float("nan"), 1.0, 3.0])
    monkeypatch.setattr(best_step, "score_part", lambda *_: {"KL": next(values)})
    loop.train(tiny_config(tiny_data_dir, **ON_THE_WAY, best_metric="KL"), tmp_path)
    assert saved_steps(tmp_path / "best") == [6]


def test_steps_are_traced_and_their_cost_is_logged(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path) -> None:
    add_extra_models()
    loop.train(tiny_config(tiny_data_dir, total_steps=4, log_every=2, profile_steps=(2, 3)), tmp_path)
    assert list(tmp_path.glob("profile/plugins/profile/*/*.xplane.pb"))
    first, *later = read_scalars(tmp_path / "metrics.jsonl")
    assert first["flops_per_step"] > 1e6
    assert first["compile_seconds"] > 0
    assert all(line["steps_per_second"] > 0 for line in later)
    with pytest.raises(InputError, match="profile_steps.* no range of steps"):
        loop.train(tiny_config(tiny_data_dir, profile_steps=(3, 2)), tmp_path / "new")


@pytest.mark.slow
def test_two_processes_share_the_scoring_and_get_the_scores_of_one(
    tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path
) -> None:
    changes = [f"{k}={v!r}" for k, v in (ON_THE_WAY | {"total_steps": 2, "eval_batch_size": 3}).items()]
    add_extra_models()
    alone = tiny_config(tiny_data_dir, **ON_THE_WAY | {"total_steps": 2, "eval_batch_size": 3})
    loop.train(alone, tmp_path / "one")
    for process in job(tmp_path / "two", tiny_data_dir, changes, changes):
        finish(process)
    one, two = scored(tmp_path / "one"), scored(tmp_path / "two")
    for metric in METRICS:
        np.testing.assert_allclose(one[2][metric], two[2][metric], rtol=1e-4, err_msg=metric)
    assert_same_variables(tmp_path / "two", tmp_path / "two/best")
