"""Checkpoints are restored, also after damage, and incomplete ones are never taken for complete."""

import contextlib
import gc
import pathlib
import shutil

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from file_limit import file_limit

from avsd_jax.errors import InputError, StorageError
from avsd_jax.runs.checkpoint import (
    Checkpointer,
    load_for_inference,
    read_config,
    save_variables,
    saved_steps,
    write_config,
)

VARIABLES = {
    "params": {"conv": {"kernel": np.arange(12.0, dtype=np.float32).reshape(3, 4)}},
    "batch_stats": {"bn": {"mean": np.ones(4, np.float32)}},
}


def make_state(step: int) -> dict:
    return {"variables": VARIABLES, "training": {"step": jnp.asarray(step), "opt_state": (jnp.ones(3), {})}}


def saved_run(folder: pathlib.Path, steps: int = 3, **extra: dict) -> Checkpointer:
    checkpointer = Checkpointer(folder)
    for step in range(1, steps + 1):
        checkpointer.save(step, make_state(step) | extra)
    checkpointer.wait()
    write_config(folder, {"model_name": "vinet", "model": {"width": 0.5}})
    return checkpointer


def damage(step_folder: pathlib.Path) -> None:
    for path in step_folder.rglob("*"):
        if path.is_file() and "d" in path.parts[-2]:
            path.write_bytes(b"\0")


def test_variables_round_trip(tmp_path: pathlib.Path) -> None:
    save_variables(tmp_path / "model", {"model_name": "vinet", "model": {"width": 0.5}}, VARIABLES)
    config, variables = load_for_inference(tmp_path / "model")
    assert config.model.width == 0.5
    np.testing.assert_array_equal(variables["params"]["conv"]["kernel"], VARIABLES["params"]["conv"]["kernel"])
    np.testing.assert_array_equal(variables["batch_stats"]["bn"]["mean"], 1.0)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_folder_in_use_is_not_overwritten(tmp_path: pathlib.Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        save_variables(tmp_path, {}, VARIABLES)
    assert [p.name for p in tmp_path.iterdir()] == ["note.txt"]


def test_inference_takes_the_averaged_parameters(tmp_path: pathlib.Path) -> None:
    average = {"conv": {"kernel": np.zeros((3, 4), np.float32)}}
    saved_run(tmp_path, 1, ema={"params": average}).close()
    np.testing.assert_array_equal(load_for_inference(tmp_path)[1]["params"]["conv"]["kernel"], 0.0)


# Orbax leaves a coroutine behind where a restore fails, which Python reports when it is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("harm", [damage, lambda step: shutil.rmtree(step / "training")])
def test_a_damaged_step_falls_back_to_the_one_before(tmp_path: pathlib.Path, harm) -> None:
    checkpointer = saved_run(tmp_path)
    harm(tmp_path / "checkpoints" / "3")
    load_for_inference(tmp_path)
    step, state = checkpointer.restore_latest(make_state(0))
    assert step == 2
    assert int(state["training"]["step"]) == 2
    # The step can be saved again, and the damaged one was kept for its owner to look at.
    checkpointer.save(3, make_state(3))
    checkpointer.close()
    assert (tmp_path / "unreadable-3").is_dir()
    assert Checkpointer(tmp_path).latest_step() == 3
    gc.collect()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_state_of_another_shape_is_one_clear_error_and_costs_nothing(tmp_path: pathlib.Path) -> None:
    checkpointer = saved_run(tmp_path)
    other, wider = make_state(0), make_state(0)
    other["variables"] = {"params": {"conv": {"kernel": np.zeros((5, 5), np.float32)}}, "batch_stats": {}}
    wider["variables"] = VARIABLES | {"params": {"conv": {"kernel": np.zeros((3, 5), np.float32)}}}
    for state in (other, wider, make_state(0) | {"ema": {"params": VARIABLES["params"]}}):
        with pytest.raises(InputError, match="fits this configuration"):
            checkpointer.restore_latest(state)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["1", "2", "3"]
    gc.collect()


def test_a_full_disk_is_said_once_at_that_save_and_what_was_whole_stays(tmp_path: pathlib.Path, capfd) -> None:
    checkpointer = saved_run(tmp_path, 2)
    large = make_state(3)
    large["variables"] = {"params": {"kernel": np.random.default_rng(0).normal(size=(64, 64))}, "batch_stats": {}}
    with file_limit(2000), pytest.raises(StorageError, match=r"checkpoints cannot be written \(File too large\)"):
        checkpointer.save(3, large)
    with contextlib.suppress(Exception):
        checkpointer.close()
    gc.collect()
    assert capfd.readouterr().err == ""
    assert [p.name for p in sorted((tmp_path / "checkpoints").iterdir())] == ["1", "2"]
    again = Checkpointer(tmp_path)
    assert again.restore_latest(make_state(0))[0] == 2
    again.save(3, make_state(3))
    assert saved_steps(tmp_path) == [1, 2, 3]
    again.close()


def test_what_a_killed_save_left_is_no_step_and_is_removed(tmp_path: pathlib.Path) -> None:
    saved_run(tmp_path, 1).close()
    left = tmp_path / "checkpoints" / f"2{ocp.utils.TMP_DIR_SUFFIX}"
    left.mkdir()
    assert saved_steps(tmp_path) == [1]
    Checkpointer(tmp_path).close()
    assert not left.exists()


def test_a_folder_that_is_no_run(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="not a trained model"):
        load_for_inference(tmp_path)
    for damaged in ("{", "[]"):
        (tmp_path / "config.json").write_text(damaged)
        with pytest.raises(InputError, match="damaged"):
            read_config(tmp_path)
    write_config(tmp_path, {})
    with pytest.raises(InputError, match="no checkpoints"):
        load_for_inference(tmp_path)
