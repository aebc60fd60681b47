"""STAViS's recorded training steps: the configuration's loss, rates and optimiser against the official training."""

import importlib.util
import json
import pathlib

import golden
import jax
import numpy as np
import pytest
from drawn import step_jit
from flax import traverse_util
from golden import stavis_inputs

from avsd_jax import models, torch_import
from avsd_jax.runs.components import Components
from avsd_jax.torch_weights.layouts import checkpoint_key, find
from avsd_jax.training.hyperparameters import hyperparameters_by_step
from avsd_jax.training.state import create_state
from avsd_jax.training.step import make_train_step

CONFIG = pathlib.Path(__file__).parents[2] / "configs/stavis.py"


def configuration(variant: str):
    spec = importlib.util.spec_from_file_location("stavis", CONFIG)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant).unlock()


def norms(name: str, tree, collection: str = "params") -> dict[str, float]:
    """The norm of each entry by its key in the official checkpoint."""
    layout = find(name, {})
    entries = traverse_util.flatten_dict({collection: tree}).items()
    return {checkpoint_key(path, layout): float(np.linalg.norm(leaf)) for path, leaf in entries}


def batch_of(shared) -> dict[str, np.ndarray]:
    draw = lambda name: golden.rule(shared).array(f"loss:{name}", (2, 1, 112, 112), 0)[:, 0]  # noqa: E731
    density = np.clip(np.floor(60 * np.abs(draw("gt").astype(np.float64))), 0, 255)
    fixations = (draw("fix") > 2.5).astype(np.float32)
    return stavis_inputs(shared, 0) | {"density": (density / 255).astype(np.float32), "fixations": fixations}


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "recorded_as"), [("paper", "audiovisual"), ("visual", "visual")])
def test_three_steps_equal_the_official_ones(shared, variant, recorded_as):
    recorded = json.loads((shared / "parity/stavis/golden_train_step.json").read_text())["steps"][recorded_as]
    config = configuration(variant)
    config.learning_rate = 1e-4  # as recorded: the official rate diverges on drawn weights
    parts = Components.from_config(config)
    name, optimizer = config.model_name, parts.optimizer
    step = make_train_step(
        models.create(name),
        optimizer,
        parts.terms,
    )
    hyperparameters = hyperparameters_by_step(config, parts)
    state = create_state(
        torch_import.to_variables(name, golden.stavis_state_dict(shared, 0)), optimizer, keep_ema=False
    )
    # NumPy's arrays: JAX would compile a program for the arithmetic of every shape.
    start, batch, compiled = jax.device_get(state.params), batch_of(shared), step_jit(step)
    size = norms(name, start)

    for number, expected in enumerate(recorded["loss_per_step"], start=1):
        state, metrics = jax.device_get(compiled(state, batch, hyperparameters(number - 1)))
        np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-4)
        for term, key, sign in (("stavis_bce", "bce", 1), ("stavis_cc", "neg_cc", -1), ("stavis_nss", "neg_nss", -1)):
            # With the side maps a term is no longer what was recorded, which is that of the final map.
            if variant == "paper":
                value = np.mean(recorded[key][number - 1])
                np.testing.assert_allclose(sign * metrics[term], value, rtol=1e-4, atol=2e-5)
        if number == 1:
            # The first direction of the optimiser is the gradient, and the weight decay.
            direction = state.opt_state[0][1].trace
            gradients = jax.tree.map(lambda d, p: d - 1e-5 * p, direction, start)
            found = norms(name, gradients)
            # A ReLU near 0 was switched in the recorded run of vision alone: float64 is 4e-3 from it, too.
            rtol = 2e-3 if variant == "paper" else 8e-3
            _check(found, recorded["grad_l2_step1"], rtol, dict.fromkeys(found, 1e-3))
            _check_moves(name, state, start, size, recorded["param_delta_l2_after_step1"])
    _check_moves(name, state, start, size, recorded["param_delta_l2_after_step3"])
    buffers = norms(name, state.batch_stats, "batch_stats")
    _check(buffers, recorded["buffers_l2_after_step3"], 1e-4, dict.fromkeys(buffers, 1e-5))


def _check_moves(name, state, start, size, expected) -> None:
    moves = norms(name, jax.tree.map(lambda new, old: new - old, state.params, start))
    # A move below a float's resolution is rounded to nothing, or to a whole unit.
    _check(moves, expected, 5e-3, {key: 1e-7 * value for key, value in size.items()})


def _check(got: dict[str, float], expected: dict[str, float | None], rtol: float, atol: dict[str, float]) -> None:
    for key, value in got.items():
        np.testing.assert_allclose(value, expected[key] or 0.0, rtol=rtol, atol=atol[key], err_msg=key)
