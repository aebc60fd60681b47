"""The training loop on a tiny model and the tiny dataset: it learns, resumes exactly, and stops cleanly."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from tiny_run import TESTS, add_extra_models, tiny_config

from avsd_jax import train
from avsd_jax.checkpoint import load_for_inference
from avsd_jax.errors import InputError
from avsd_jax.metric_writer import read_scalars

ENVIRONMENT = os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}


@pytest.fixture(autouse=True)
def _extra_models() -> None:
    add_extra_models()


def start(workdir: pathlib.Path, data_dir: pathlib.Path, *changes: str) -> subprocess.Popen:
    command = [sys.executable, str(TESTS / "tiny_run.py"), str(workdir), str(data_dir), *changes]
    return subprocess.Popen(
        command,
        env=ENVIRONMENT,
        cwd=TESTS.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


def wait_for_step(workdir: pathlib.Path, step: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not (workdir / "checkpoints" / str(step)).is_dir():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_same_variables(a: pathlib.Path, b: pathlib.Path) -> None:
    first, second = load_for_inference(a)[1], load_for_inference(b)[1]
    for (path, x), y in zip(jax.tree.leaves_with_path(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(x, y, err_msg=jax.tree_util.keystr(path))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, tiny_data_dir: pathlib.Path) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("uninterrupted")
    finish(start(workdir, tiny_data_dir, "total_steps=40"))
    return workdir


def test_the_loss_falls_and_every_scalar_is_logged(uninterrupted: pathlib.Path) -> None:
    lines = read_scalars(uninterrupted / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, *range(3, 40, 3), 40]
    assert lines[-1]["kl"] < lines[0]["kl"]
    assert {"loss", "kl", "ce", "l2_grads", "l2_params", "l2_updates", "learning_rate"} <= set(lines[-1])
    assert json.loads((uninterrupted / "config.json").read_text())["total_steps"] == 40


def test_a_killed_run_ends_with_the_same_bits(
    tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path, uninterrupted: pathlib.Path
) -> None:
    for step in (3, 18):
        process = start(tmp_path, tiny_data_dir, "total_steps=40")
        wait_for_step(tmp_path, step, process)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(start(tmp_path, tiny_data_dir, "total_steps=40"))
    assert_same_variables(tmp_path, uninterrupted)
    steps = [line["step"] for line in read_scalars(tmp_path / "metrics.jsonl")]
    assert steps == sorted(set(steps)), "a step is logged once"


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path) -> None:
    # Plain SGD: Adam would blow up the rounding of gradients that are almost zero.
    changes = ["total_steps=6", "optimizer='sgd'", "learning_rate=0.05"]
    finish(start(tmp_path / "one", tiny_data_dir, *changes))
    script = [sys.executable, str(TESTS / "tiny_run.py"), str(tmp_path / "two"), str(tiny_data_dir), *changes]
    launch = [str(TESTS.parent / "launch" / "local.py"), "2", *script]
    done = subprocess.run(launch, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert [line["step"] for line in read_scalars(tmp_path / "two" / "metrics.jsonl")] == [1, 3, 6]
    one, two = (load_for_inference(tmp_path / name)[1] for name in ("one", "two"))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


def test_sigterm_saves_and_exits_cleanly(
    tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path, uninterrupted: pathlib.Path
) -> None:
    process = start(tmp_path, tiny_data_dir, "total_steps=40", "checkpoint_every=1000")
    deadline = time.monotonic() + 120
    while not (tmp_path / "metrics.jsonl").exists() or not read_scalars(tmp_path / "metrics.jsonl"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert "the same command continues from there" in finish(process)
    saved = [int(p.name) for p in (tmp_path / "checkpoints").iterdir()]
    assert len(saved) == 1
    assert saved[0] < 40
    finish(start(tmp_path, tiny_data_dir, "total_steps=40", "checkpoint_every=1000"))
    assert_same_variables(tmp_path, uninterrupted)


def test_options_of_the_step(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path) -> None:
    config = tiny_config(
        tiny_data_dir,
        total_steps=4,
        ema_decay=0.5,
        compute_dtype="bfloat16",
        clip_norm=0.1,
        executor="pmap",
        tensorboard=True,
    )
    state = train.train(config, tmp_path)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))
    assert all(x.dtype == np.float32 for x in jax.tree.leaves(state.variables))
    averaged = load_for_inference(tmp_path)[1]["params"]
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(averaged), jax.tree.leaves(state.params), strict=True))
    assert list(tmp_path.glob("events.out.tfevents*"))


def test_a_non_finite_loss_names_step_clips_and_checkpoint(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path) -> None:
    config = tiny_config(tiny_data_dir, total_steps=5, checkpoint_every=1, learning_rate=1e38, optimizer="sgd")
    with pytest.raises(train.NonFiniteLossError, match=r"at step \d+ on the clips .* good checkpoint is step \d+"):
        train.train(config, tmp_path)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(load_for_inference(tmp_path)[1]))


def test_bad_input_is_one_clear_error(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path) -> None:
    for changes, message in [
        ({"model_name": "resnet"}, "unknown model 'resnet'.*avinet.*vinet"),
        ({"preprocessing": "avc"}, "unknown preprocessing 'avc': choose one of .*stavis, vinet"),
        ({"optimizer": "lion"}, "unknown optimizer"),
        ({"optimizer_options": {"beta": 1}}, "optimizer 'adam' has no option 'beta': choose among b1, b2"),
        ({"schedule": "step"}, "unknown schedule"),
        ({"batch_size": 7}, "batch_size=7"),
        ({"data_dir": str(tmp_path / "none")}, "sounding_shapes.*python -m avsd_jax.datasets build"),
        ({"model": {"clip_size": 8, "depth": 3}}, "no option 'depth'"),
        ({"init": str(tmp_path / "none")}, "none is not a trained model"),
    ]:
        with pytest.raises(InputError, match=message):
            train.train(tiny_config(tiny_data_dir, **changes), tmp_path / "run")
        assert not (tmp_path / "run").exists(), "the mended command can have the folder"
    train.train(tiny_config(tiny_data_dir, total_steps=1), tmp_path / "used")
    with pytest.raises(InputError, match="holds a run with seed=0, now 5"):
        train.train(tiny_config(tiny_data_dir, total_steps=1, seed=5), tmp_path / "used")
