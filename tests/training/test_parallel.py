"""Both executors give the one-device result, BatchNorm and unevenly spread labels included."""

import pathlib

import jax
import numpy as np
import optax
import pytest
from extra_models import tiny

from avsd_jax import losses
from avsd_jax.common.parallel import check_batch_size, make_executor, make_mesh
from avsd_jax.errors import InputError
from avsd_jax.runs.checkpoint import Checkpointer
from avsd_jax.training.hyperparameters import Hyperparameters
from avsd_jax.training.program import compiled_step
from avsd_jax.training.state import create_state, from_items, to_items

WEIGHTS = {"kl": 1.0, "ce": 1.0, "cc": 0.1, "sim": 0.1, "nss": 0.0}


def make_batch(seed: int, size: int = 16) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "video": rng.normal(size=(size, 2, 8, 8, 3)).astype(np.float32),
        "audio": rng.normal(size=(size, 64)).astype(np.float32),
        "density": rng.uniform(size=(size, 8, 8)).astype(np.float32),
        # Whole devices hold no labelled clip: a mean of their means would be wrong.
        "avc_label": np.where(np.arange(size) < size // 4, rng.integers(0, 2, size), -1).astype(np.int32),
    }


def run(name: str, devices: int) -> tuple[dict, list[float]]:
    """Parameters and losses after five steps."""
    mesh = make_mesh(jax.devices()[:devices])
    executor = make_executor(name, mesh)
    model = tiny.Model(gate="classifier", axis_name=executor.axis_name)
    variables = tiny.Model(gate="classifier").init(jax.random.key(0), make_batch(0))
    optimizer = optax.sgd(0.1, momentum=0.9)
    state = create_state(variables, optimizer, keep_ema=True)
    numbers = Hyperparameters(
        *(np.uint32(0), None, None, np.float32(0.1)),
        weights={name: np.float32(weight) for name, weight in WEIGHTS.items()},
        rho=np.float32(0.5),
    )
    state, history, program = executor.place_state(state), [], None
    for i in range(5):
        arguments = (state, executor.place_batch(make_batch(i)), numbers)
        program = program or compiled_step(
            model, optimizer, losses.present(WEIGHTS, 0.5), executor, "float32", False, arguments
        )
        state, metrics = program.run(*arguments)
        history.append(float(executor.fetch_metrics(metrics["loss"])))
    return jax.device_get(executor.fetch_state(state)), history


@pytest.mark.parametrize("name", ["jit", "pmap"])
def test_eight_devices_equal_one(name: str) -> None:
    assert jax.device_count() >= 8
    one, one_losses = run("jit", 1)
    many, many_losses = run(name, 8)
    np.testing.assert_allclose(many_losses, one_losses, atol=1e-6)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert len(set(one_losses)) == 5


def test_a_step_saved_on_some_devices_comes_back_on_any_number(tmp_path: pathlib.Path) -> None:
    params = {"dense": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}
    state = create_state({"params": params, "batch_stats": {}}, optax.adam(1e-3), keep_ema=True)
    template = jax.tree.map(np.asarray, to_items(state))
    executors = {n: [make_executor(e, make_mesh(jax.devices()[:n])) for e in ("jit", "pmap")] for n in (1, 2, 4, 8)}
    checkpointer = Checkpointer(tmp_path, keep=2)
    for step, executor in enumerate((e for pair in executors.values() for e in pair), start=1):
        moved = jax.tree.map(lambda x, step=step: x + x.dtype.type(step), state)
        checkpointer.save(step, to_items(executor.fetch_state(executor.place_state(moved))))
        found, items = checkpointer.restore_latest(template)
        assert found == step
        for devices, (jit, _) in executors.items():
            placed = jit.place_state(from_items(items))
            for there, here in zip(jax.tree.leaves(moved), jax.tree.leaves(placed), strict=True):
                np.testing.assert_array_equal(there, here)
                assert len(here.sharding.device_set) == devices
    # JAX arrays in the template say where the state is to lie.
    _, items = checkpointer.restore_latest(to_items(executors[4][0].place_state(state)))
    assert all(len(x.sharding.device_set) == 4 for x in jax.tree.leaves(items))
    checkpointer.close()
    assert not list(tmp_path.glob("unreadable*"))


def test_a_batch_that_does_not_split_is_refused() -> None:
    with pytest.raises(InputError, match="batch_size=6 .* multiple of 8"):
        check_batch_size(6, make_mesh(jax.devices()[:8]))
    with pytest.raises(InputError, match="jit, pmap"):
        make_executor("tpu", make_mesh())
