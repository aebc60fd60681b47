"""Two steps of each weakly supervised network, on targets that an earlier stage would give."""

import jax
import numpy as np
import pytest
from drawn import normal, step_jit, variables
from slow import slow_except
from tiny_run import add_extra_models

from avsd_jax.batch import zeros
from avsd_jax.config.base import base
from avsd_jax.runs.components import Components
from avsd_jax.training.hyperparameters import hyperparameters_by_step
from avsd_jax.training.state import create_state
from avsd_jax.training.step import make_train_step

DENSE = {"width": 1 / 8, "depths": (1, 1, 1, 1)}
TAGS = ("disc", "square", "star")
# Options of the model, weights of the losses, and the terms that a step computes.
RECIPES = {
    "gradcam_pp": ({"network": "tiny_tags"}, {"tags": 1 / 3}),
    "wss_classifier": ({"width": 1 / 16}, {"tags": 1 / 3}),
    "wss": ({"width": 1 / 16}, {"bootstrap": 1.0}),
    "sbf": ({"width": 1 / 16}, {"sbf_bce": 1.0}),
    "mws_classifier": (DENSE, {"tags": 1 / 3, "area": 5e-4, "attention_transfer": 1e-2}),
    "mws_captioner": (DENSE | {"words": 7}, {"captions": 1.0, "area": 5e-3}),
    "mws": (DENSE, {"bce": 1.0}),
}


# The first stages differ from the others in their heads: their steps are traced, not compiled.
TRACED = ("wss_classifier", "mws_classifier", "mws_captioner")


@pytest.mark.parametrize("name", slow_except(RECIPES, RECIPES.keys() - {"sbf", "wss"}))
def test_two_steps(name):
    add_extra_models()
    options, weights = RECIPES[name]
    config, parts, batch = _run_of(name, options, weights)
    drawn = jax.eval_shape(parts.model.init, jax.random.key(0), {"video": batch["video"]})
    given = {"batch_stats": {}} | variables(drawn)
    state = create_state(given, parts.optimizer, keep_ema=False)
    step = make_train_step(parts.model, parts.optimizer, parts.terms)
    hyperparameters = hyperparameters_by_step(config, parts)
    if name in TRACED:
        _, metrics = jax.eval_shape(step, state, batch, hyperparameters(0))
        assert set(weights) < set(metrics)
        return
    step, found = step_jit(step), []
    for number in range(2):
        state, metrics = step(state, batch, hyperparameters(number))
        assert all(metrics["finite"].values())
        found.append({key: float(metrics[key]) for key in (*weights, "loss")})
    assert found[1]["loss"] < found[0]["loss"]
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), state.params, given["params"])
    assert np.mean(jax.tree.leaves(moved)) > 0.9
    kept = jax.tree.map(lambda a, b: bool((a == b).all()), state.batch_stats, given["batch_stats"])
    assert all(jax.tree.leaves(kept)) == (name != "wss")


def _run_of(name, options, weights):
    """The configuration, what it names, and a batch that the pipeline or a caller would give."""
    config = base(name)
    config.model.update(options)
    config.frame_size = (32, 32)
    if "num_tags" in config.model:
        config.model.num_tags, config.tags = len(TAGS), TAGS
    with config.ignore_type():
        config.losses.update(dict.fromkeys(config.losses, 0.0) | weights)
    config.optimizer, config.learning_rate, config.rho = "sgd", 1e-2, 1.0
    parts = Components.from_config(config)
    batch = zeros(parts.spec, 2) | {"video": np.asarray(normal(0, 2, 1, 32, 32, 3))}
    batch["density"][:, 8:16, 4:20] = 0.9
    if "tags" in batch:
        batch["tags"] = np.eye(3, dtype=np.float32)[:2]
    if name == "mws_captioner":
        batch["captions"] = np.array([[0, 5, 1], [0, 1, -1]], np.int32)
    if name == "sbf":
        batch["pixel_weights"] = np.full((2, 32, 32), 0.01, np.float32)
    return config, parts, batch
