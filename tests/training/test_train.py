"""The training loop on a tiny model and the tiny dataset: it learns, resumes exactly, and stops cleanly."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import devices
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_run import HELPERS, ROOT, add_extra_models, tiny_config

from avsd_jax.common.leaves import joined
from avsd_jax.common.parallel import PmapExecutor, make_mesh
from avsd_jax.errors import InputError
from avsd_jax.runs.checkpoint import Checkpointer, load_for_inference, saved_steps
from avsd_jax.runs.components import Components
from avsd_jax.training import loop
from avsd_jax.training.metric_writer import read_scalars
from avsd_jax.training.state import all_finite, all_finite_on_host, norm_and_finite

ENVIRONMENT = os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}


@pytest.fixture(autouse=True)
def _extra_models() -> None:
    add_extra_models()


def start(
    workdir: pathlib.Path, data_dir: pathlib.Path, *changes: str, environment: dict[str, str] | None = None
) -> subprocess.Popen:
    command = [sys.executable, str(HELPERS / "tiny_run.py"), str(workdir), str(data_dir), *changes]
    return subprocess.Popen(
        command,
        env=ENVIRONMENT | (environment or {}),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def job(workdir: pathlib.Path, data_dir: pathlib.Path, *changes: list[str]) -> list[subprocess.Popen]:
    """Starts processes of one job, each with its changes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    of_all = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(len(changes))}
    return [
        start(workdir, data_dir, *own, environment=of_all | {"JAX_PROCESS_ID": str(i)}) for i, own in enumerate(changes)
    ]


def finish(process: subprocess.Popen, status: int = 0) -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == status, output
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
    finish(start(workdir, tiny_data_dir, "total_steps=120", "checkpoint_every=9"))
    return workdir


def test_the_loss_falls_and_every_scalar_is_logged(uninterrupted: pathlib.Path) -> None:
    lines = read_scalars(uninterrupted / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, *range(3, 121, 3)]
    assert lines[-1]["kl"] < lines[0]["kl"]
    assert {"loss", "kl", "ce", "l2_grads", "l2_params", "l2_updates", "learning_rate"} <= set(lines[-1])
    assert json.loads((uninterrupted / "config.json").read_text())["total_steps"] == 120


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(
    tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path, uninterrupted: pathlib.Path
) -> None:
    for step in (9, 54):
        process = start(tmp_path, tiny_data_dir, "total_steps=120", "checkpoint_every=9")
        wait_for_step(tmp_path, step, process)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(start(tmp_path, tiny_data_dir, "total_steps=120", "checkpoint_every=9"))
    assert_same_variables(tmp_path, uninterrupted)
    steps = [line["step"] for line in read_scalars(tmp_path / "metrics.jsonl")]
    assert steps == sorted(set(steps)), "a step is logged once"


@pytest.mark.slow
def test_processes_of_one_job_have_one_configuration_and_end_if_one_is_killed(
    tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path
) -> None:
    for process in job(tmp_path / "run", tiny_data_dir, ["total_steps=4"], ["total_steps=4", "learning_rate=0.5"]):
        assert "configuration or --workdir of process 1 is not that of process 0" in finish(process, status=2)
    assert not (tmp_path / "run").exists()
    changes = ["total_steps=100000", "checkpoint_every=100000"]
    processes = job(tmp_path / "run", tiny_data_dir, changes, changes)
    while not (tmp_path / "run" / "metrics.jsonl").exists():
        assert processes[0].poll() is None
        time.sleep(0.02)
    assert "is in use by process" in finish(start(tmp_path / "run", tiny_data_dir, *changes), status=2)
    processes[1].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    assert "error: another process of the job has ended or is out of reach" in finish(processes[0], status=1)
    assert time.monotonic() - killed < 60
    finish(processes[1], status=-signal.SIGKILL)


def test_sigterm_saves_and_exits_cleanly(
    tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path, uninterrupted: pathlib.Path
) -> None:
    process = start(tmp_path, tiny_data_dir, "total_steps=120", "checkpoint_every=1000")
    deadline = time.monotonic() + 120
    while not (tmp_path / "metrics.jsonl").exists() or not read_scalars(tmp_path / "metrics.jsonl"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert "the same command continues from there" in finish(process, status=75)
    saved = [int(p.name) for p in (tmp_path / "checkpoints").iterdir()]
    assert len(saved) == 1
    assert saved[0] < 120
    finish(start(tmp_path, tiny_data_dir, "total_steps=120", "checkpoint_every=1000"))
    assert_same_variables(tmp_path, uninterrupted)


def test_options_of_the_step(
    tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, fetch = [], PmapExecutor.fetch_metrics
    monkeypatch.setattr(
        PmapExecutor, "fetch_metrics", lambda self, given: fetched.append(len(given)) or fetch(self, given)
    )
    config = tiny_config(
        tiny_data_dir,
        total_steps=4,
        ema_decay=0.5,
        compute_dtype="bfloat16",
        clip_norm=0.1,
        executor="pmap",
        tensorboard=True,
    )
    state = loop.train(config, tmp_path)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))
    assert all(x.dtype == np.float32 for x in jax.tree.leaves(state.variables))
    averaged = load_for_inference(tmp_path)[1]["params"]
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(averaged), jax.tree.leaves(state.params), strict=True))
    assert list(tmp_path.glob("events.out.tfevents*"))
    assert fetched == [1, 2, 1], "metrics are fetched for a line of the log or a save, and not between"


@pytest.mark.slow
def test_nothing_that_is_not_finite_is_saved_and_the_advice_can_be_followed(
    tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices.train_on_one(monkeypatch)

    def run(**changes: object) -> None:
        loop.train(tiny_config(tiny_data_dir, checkpoint_every=1, warmup_steps=0, **changes), tmp_path)

    advice = "NaN or infinity in the parameters at step 1 .* no checkpoint was saved before; lower learning_rate"
    with pytest.raises(loop.NonFiniteLossError, match=advice):
        run(total_steps=1, learning_rate=float("inf"))
    assert saved_steps(tmp_path) == []
    # The changed command may have the folder, in which no step was saved.
    advice = r"at step \d+ on the clips .* good checkpoint is step \d+; .* another --workdir, and --config.init="
    with pytest.raises(loop.NonFiniteLossError, match=advice):
        run(total_steps=5, learning_rate=1e38, optimizer="sgd")
    assert saved_steps(tmp_path)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(load_for_inference(tmp_path)[1]))
    with pytest.raises(InputError, match="use another --workdir"):
        run(total_steps=5, learning_rate=1e-3, optimizer="sgd")


@pytest.mark.parametrize(
    "part", ["gradients", "parameters", "batch statistics", "optimizer state", "averaged parameters"]
)
def test_every_part_of_a_state_is_guarded(part: str, tmp_path: pathlib.Path) -> None:
    parts = ("gradients", "parameters", "batch statistics", "optimizer state", "averaged parameters")
    good = {"loss": 0.5, "finite": dict.fromkeys(parts, True), "damaged": {"density": 0, "audio": 0}}
    bad = good | {"finite": good["finite"] | {part: False}}
    checkpointer = Checkpointer(tmp_path)
    loop.check_finite(good, 2, ["3:7"], checkpointer)
    with pytest.raises(loop.NonFiniteLossError, match=f"NaN or infinity in the {part} at step 2 on .* 3:7; no check"):
        loop.check_finite(bad, 2, ["3:7"], checkpointer)
    with pytest.raises(loop.NonFiniteLossError, match="loss is inf at step 2"):
        loop.check_finite(good | {"loss": float("inf")}, 2, ["3:7"], checkpointer)
    with pytest.raises(loop.NonFiniteLossError, match="the clips' density hold NaN or infinity: correct the dataset"):
        loop.check_finite(bad | {"damaged": {"density": 1, "audio": 0}}, 2, ["3:7"], checkpointer)
    checkpointer.close()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["small", "smaller", "large", "half"])
def test_one_bad_number_is_found_wherever_it_is_and_norms_are_those_of_all_leaves(name: str, bad: float) -> None:
    rng, half = np.random.default_rng(0), jnp.bfloat16
    tree = {"small": rng.random((3, 4)), "smaller": rng.random(()), "large": rng.random((400, 400))}
    tree = {key: np.asarray(x, np.float32) for key, x in tree.items()}
    tree |= {"half": np.asarray(rng.random(5), half), "count": np.int32(7)}
    floats = {key: np.asarray(x, np.float32) for key, x in tree.items() if key != "count"}
    norm = np.sqrt(sum(np.square(x).sum() for x in floats.values()))
    arrays = joined(jax.tree.map(jnp.asarray, tree))
    np.testing.assert_allclose(optax.tree.norm(arrays), norm, rtol=1e-2)
    np.testing.assert_allclose(norm_and_finite(jax.tree.map(jnp.asarray, tree))[0], norm, rtol=1e-6)
    assert len(arrays) == 3
    worse = {key: np.array(x) for key, x in tree.items()}
    worse[name].flat[-1] = bad
    checks = all_finite, lambda given: norm_and_finite(given)[1]
    for check in (*(lambda given, c=c: c(jax.tree.map(jnp.asarray, given)) for c in checks), all_finite_on_host):
        assert check(tree)
        assert check({"count": np.int32(7)})
        assert not check(worse)


def test_a_saved_step_that_is_not_finite_is_named(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "initial_variables", lambda *_: {"params": {"w": np.ones(2)}, "batch_stats": {}})
    config = tiny_config("data", optimizer="sgd")
    parts = Components.from_config(config)
    state, checkpointer = loop.start_or_resume(config, parts, tmp_path)
    items = jax.tree.map(np.copy, loop.to_items(state))
    items["variables"]["params"]["w"][1] = np.nan
    checkpointer.save(4, items)
    with pytest.raises(InputError, match="step 4 of .* holds NaN .* remove .*checkpoints/4"):
        loop.start_or_resume(config, parts, tmp_path)
    monkeypatch.setattr(loop, "initial_variables", lambda *_: {"params": {"w": np.full(2, np.inf)}})
    with pytest.raises(InputError, match="would start from NaN or infinite parameters"):
        loop.start_or_resume(config, parts, tmp_path / "new")


def test_bad_input_is_one_clear_error(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path) -> None:
    for changes, message in [
        ({"model_name": "resnet"}, "unknown model 'resnet'.*avinet.*vinet"),
        ({"preprocessing": "avc"}, "unknown preprocessing 'avc': choose one of .*stavis, .*vinet"),
        ({"optimizer": "lion"}, "unknown optimizer"),
        ({"optimizer_options": {"beta": 1}}, "optimizer 'adam' has no option 'beta': choose among b1, b2"),
        ({"schedule": "step"}, "unknown schedule"),
        ({"batch_size": 7}, "batch_size=7"),
        ({"data_dir": str(tmp_path / "none")}, "sounding_shapes.*python -m avsd_jax.datasets build"),
        ({"model": {"clip_size": 8, "depth": 3}}, "no option 'depth'"),
        ({"init": str(tmp_path / "none")}, "none is not a trained model"),
    ]:
        with pytest.raises(InputError, match=message):
            loop.train(tiny_config(tiny_data_dir, **changes), tmp_path / "run")
        assert not (tmp_path / "run").exists(), "the mended command can have the folder"
    loop.train(tiny_config(tiny_data_dir, total_steps=1), tmp_path / "used", mesh=make_mesh(jax.devices()[:1]))
    with pytest.raises(InputError, match="holds a run with seed=0, now 5"):
        loop.train(tiny_config(tiny_data_dir, total_steps=1, seed=5), tmp_path / "used")
