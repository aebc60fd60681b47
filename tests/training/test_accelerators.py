"""The programs of a run have a form on GPUs and TPUs: each is lowered for both, here, without one."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from config_files import CONFIGS, load

from avsd_jax.batch import batch_shapes, model_inputs
from avsd_jax.experiment.comparison import derive
from avsd_jax.runs.components import Components, make_forward
from avsd_jax.scoring.protocols import NATIVE
from avsd_jax.scoring.scorer import score_maps
from avsd_jax.training.hyperparameters import hyperparameters_by_step
from avsd_jax.training.state import create_state
from avsd_jax.training.step import make_train_step

PLATFORMS = ("cuda", "tpu")
ROWS = {
    "stavis:demo:av_star": "float32",  # 3-D convolutions, a classifier on spectrograms, the gate
    "stanet:demo:av_star": "bfloat16",  # 2-D convolutions, attention, side maps, recomputed blocks
    "baselines:aclnet:aclnet": "float32",  # a recurrence
}


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers choose their form by the backend: here that of any but a CPU."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


def lower(function: Callable[..., Any], *shapes: Any) -> None:
    assert jax.export.export(jax.jit(function), platforms=PLATFORMS)(*shapes).platforms == PLATFORMS


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_training_and_inference(name: str) -> None:
    file, variant, chosen = name.split(":")
    (config,) = (
        row.config for row in derive(load(CONFIGS / f"{file}.py").get_config(variant), "runs") if row.name == chosen
    )
    parts = Components.from_config(config)
    batch = batch_shapes(parts.spec, 2)
    init = functools.partial(parts.model.init, jax.random.key(0), train=False)
    variables = dict(jax.eval_shape(init, batch))
    state = jax.eval_shape(lambda v: create_state(v, parts.optimizer, keep_ema=True), variables)
    dtype = jnp.dtype(ROWS[name])
    step = make_train_step(parts.model, parts.optimizer, parts.terms, compute_dtype=dtype, remat=dtype != jnp.float32)
    lower(step, state, batch, hyperparameters_by_step(config, parts)(0))
    lower(make_forward(parts.model), variables, model_inputs(batch))


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.float32])
def test_scoring(dtype: Any) -> None:
    shapes = [jax.ShapeDtypeStruct((2, 36, 48), kind) for kind in (dtype, jnp.uint8, bool, bool)]
    lower(functools.partial(score_maps, protocol=NATIVE, double=False, max_fixations=8), *shapes)
