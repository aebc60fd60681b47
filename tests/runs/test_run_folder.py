"""One run at a time in a folder, and only the run that it holds."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from absl import logging
from held_folder import HOLD
from tiny_run import add_extra_models, tiny_config

from avsd_jax.errors import InputError
from avsd_jax.runs.checkpoint import Checkpointer, read_config, write_config
from avsd_jax.runs.run_folder import LOCK_FILE, check_can_continue, locked


def test_a_folder_in_use_names_its_holder_and_a_dead_holder_does_not_count(tmp_path: pathlib.Path) -> None:
    lock = tmp_path / LOCK_FILE
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=r"is in use by process 7 on host: wait .* another --workdir"):
            locked(tmp_path).__enter__()
        other.kill()
    assert lock.exists(), "a killed process leaves its file"
    with locked(tmp_path):
        assert "process 7 " not in lock.read_text()
    assert not lock.exists()


def test_a_run_enters_its_own_folder_again(tmp_path: pathlib.Path) -> None:
    with locked(tmp_path), locked(tmp_path / "row"), locked(tmp_path):
        assert (tmp_path / LOCK_FILE).exists()
    assert not list(tmp_path.rglob(LOCK_FILE))


def test_a_run_that_comes_to_nothing_leaves_no_folder(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError), locked(tmp_path / "runs" / "one"):
        raise InputError("no such data")
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "config.json").write_text("{}")
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "config.json"]


def run_at_step(folder: pathlib.Path, step: int, **changes: object) -> None:
    add_extra_models()
    write_config(folder, tiny_config("data", **changes))
    checkpointer = Checkpointer(folder)
    checkpointer.save(step, {"variables": {"params": {"kernel": np.ones(3)}}})
    checkpointer.close()


def test_a_folder_without_a_checkpoint_is_no_run(tmp_path: pathlib.Path) -> None:
    write_config(tmp_path, tiny_config("data", learning_rate=float("inf")))
    (tmp_path / "checkpoints").mkdir()
    check_can_continue(tiny_config("data", learning_rate=1e-3), tmp_path)


def test_fewer_steps_than_are_done_are_refused(tmp_path: pathlib.Path) -> None:
    run_at_step(tmp_path, 6, total_steps=6)
    with pytest.raises(InputError, match=r"total_steps=3 .* is at step 6 already: give 6 or more"):
        check_can_continue(tiny_config("data", total_steps=3), tmp_path)
    check_can_continue(tiny_config("data", total_steps=6), tmp_path)
    with pytest.raises(InputError, match="holds a run with learning_rate="):
        check_can_continue(tiny_config("data", total_steps=6, learning_rate=1.0), tmp_path)


@pytest.mark.parametrize(
    ("field", "value"), [("model", None), ("model", [1]), ("total_steps", "abc"), ("total_steps", None), ("rows", 5)]
)
def test_a_damaged_record_of_a_run_is_named(tmp_path: pathlib.Path, field: str, value: object) -> None:
    run_at_step(tmp_path, 6, total_steps=6)
    record = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(record | {field: value}))
    with pytest.raises(InputError, match=rf"config.json is damaged \({field}.*restore it, or use another --workdir"):
        check_can_continue(tiny_config("data", total_steps=6), tmp_path)


@pytest.mark.parametrize("text", ["[" * 100_000, "3", '{"loss": ["kl"]}'], ids=["deep", "number", "loss"])
def test_a_record_that_is_none_is_refused(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("changes", "total_steps", "words"),
    [
        ({"schedule": "cosine", "learning_rate": 1e-3, "warmup_steps": 0}, 12, "step 6 is 0.000629, not 6.7e-05"),
        ({"schedule": "steps", "rate_drops": (0.5,), "warmup_steps": 0}, 12, "learning_rate of step 6 is"),
        ({"side_epochs": 3, "schedule": "constant"}, 12, "side maps have other weights"),
        ({"schedule": "constant"}, 12, None),
        ({"schedule": "cosine"}, 6, None),
    ],
)
def test_other_rates_through_another_number_of_steps_are_said(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, changes: dict, total_steps: int, words: str | None
) -> None:
    run_at_step(tmp_path, 6, total_steps=6, **changes)
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    check_can_continue(tiny_config("data", total_steps=total_steps, **changes), tmp_path)
    assert len(said) == (words is not None)
    if words:
        assert "total_steps was 6 and is 12" in said[0]
        assert words in said[0]
