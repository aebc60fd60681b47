"""A whole training step and a prediction of a configuration in shapes alone: nothing is computed or compiled."""

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from avsd_jax import losses
from avsd_jax.batch import batch_shapes
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.errors import InputError
from avsd_jax.runs.components import Components, make_forward
from avsd_jax.training.hyperparameters import hyperparameters_by_step
from avsd_jax.training.state import TrainState, create_state
from avsd_jax.training.step import make_train_step

# Fields that determine the shapes of a network, and of its step; the others are numbers in it, or not read by it.
_NETWORK_FIELDS = ("model_name", "model", "frame_size", "preprocessing", "preprocessing_options", "tags")
_STEP_FIELDS = (*_NETWORK_FIELDS, "optimizer", "optimizer_options", "rates", "compute_dtype", "remat")
# A step depends on whether these numbers are zero, and on whether rho leaves the classifier a loss.
_SWITCHES = ("side_epochs", "clip_norm", "ema_decay")

# Length of a video on which a sampler is tried.
_VIDEO_FRAMES = 200


@dataclasses.dataclass(frozen=True)
class Shapes:
    """The shapes and types of a configuration's step, as `jax.ShapeDtypeStruct`s.

    Attributes:
        output: what the model returns at inference, by name.
        before, after: the state before and after a step.
        metrics: the metrics of a step.
    """

    output: dict[str, Any]
    before: TrainState
    after: TrainState
    metrics: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Traced:
    """A configuration and the objects built from it; equal to any other with the same shapes."""

    record: str
    config: ConfigDict = dataclasses.field(compare=False)
    parts: Components = dataclasses.field(compare=False)


def trace(config: ConfigDict, parts: Components) -> Shapes:
    """Returns the shapes of the first training step and of the model's output.

    Configurations of the same shapes are traced once in a process.

    Raises:
        InputError: the configuration has no valid step; the message gives the reason.
    """
    output, _ = _network(_network_of(config, parts))
    return Shapes(output, *_step(_step_of(config, parts)))


def variables(config: ConfigDict, parts: Components) -> dict[str, Any]:
    """Returns the shapes of the model's variables; raises as `trace` does."""
    return _network(_network_of(config, parts))[1]


def check_prediction(config: ConfigDict, parts: Components, trained: Any = None) -> None:
    """Raises InputError if the model predicts no map.

    Args:
        config: of the model.
        parts: what is built of it.
        trained: shapes of another run's variables to predict with; its own by default.
    """
    output, own = _network(_network_of(config, parts))
    if "saliency" in output and trained is None:
        return
    variables = own if trained is None else trained
    _guarded(config, lambda: jax.eval_shape(make_forward(parts.model), variables, batch_shapes(parts.spec)))


def check_data(config: ConfigDict, spec: ClipSpec) -> None:
    """Raises InputError if the sampler or the preprocessing does not support the configuration."""
    sampler, preprocessing = spec.sampler, spec.preprocessing

    def draw() -> None:
        items = sampler.train_items(_VIDEO_FRAMES, spec.clip_size)
        rng = np.random.default_rng(0)
        if items:
            sampler.train_window(rng, 0, _VIDEO_FRAMES, spec.clip_size, spec.frame_step, lambda frame: False)
        sampler.eval_targets(_VIDEO_FRAMES, spec.clip_size, 1)
        sampler.eval_window(_VIDEO_FRAMES // 2, _VIDEO_FRAMES, spec.clip_size, spec.frame_step)
        preprocessing.resize_frame(np.zeros((8, 8, 3), np.uint8), (8, 8))
        preprocessing.resize_density(np.zeros((8, 8), np.uint8), (8, 8))
        preprocessing.audio_samples(spec.clip_size)

    _guarded(config, draw)


def _network_of(config: ConfigDict, parts: Components) -> _Traced:
    given = json.loads(config.to_json())
    return _Traced(json.dumps({name: given[name] for name in _NETWORK_FIELDS}, sort_keys=True), config, parts)


def _step_of(config: ConfigDict, parts: Components) -> _Traced:
    given = json.loads(config.to_json())
    record = {name: given[name] for name in _STEP_FIELDS} | {name: bool(given[name]) for name in _SWITCHES}
    record["losses"] = losses.present(given["losses"], given["rho"])
    if parts.shared:
        record["model"] |= {"gate": parts.step_model.gate}
    return _Traced(json.dumps(record, sort_keys=True), config, parts)


@functools.lru_cache(maxsize=128)
def _network(traced: _Traced) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the shapes of the model's output and of its variables."""
    model, shapes = traced.parts.model, batch_shapes(traced.parts.spec, 2)
    init = functools.partial(model.init_with_output, train=False)
    return _guarded(traced.config, lambda: jax.eval_shape(init, _keys(), shapes))


@functools.lru_cache(maxsize=128)
def _step(traced: _Traced) -> tuple[TrainState, TrainState, dict[str, Any]]:
    """Returns the shapes of the state before and after a step, and of its metrics."""
    config, parts = traced.config, traced.parts
    _, variables = _network(_network_of(config, parts))
    if "params" not in variables:  # as of a classifier that has nothing to learn
        raise InputError(f"{config.model_name} has no weights to train as configured: choose another model.classifier")
    step = make_train_step(
        parts.model,
        parts.optimizer,
        parts.terms,
        compute_dtype=jnp.dtype(config.compute_dtype),
        remat=config.remat,
    )

    numbers = hyperparameters_by_step(config, parts)(0)

    def make() -> tuple[TrainState, TrainState, dict[str, Any]]:
        before = jax.eval_shape(lambda v: create_state(v, parts.optimizer, bool(config.ema_decay)), dict(variables))
        return (before, *jax.eval_shape(step, before, batch_shapes(parts.spec, 2), numbers))

    return _guarded(config, make)


def _keys() -> dict[str, Any]:
    return jax.eval_shape(lambda: {"params": jax.random.key(0), "dropout": jax.random.key(0)})


def _guarded(config: ConfigDict, build: Callable[[], Any]) -> Any:
    """Returns the result of `build`; any exception becomes an InputError about the configuration."""
    try:
        return build()
    except (InputError, MemoryError):
        raise
    except Exception as error:  # layers raise many types where sizes do not fit
        logging.debug("the configuration cannot be built", exc_info=True)
        reason = (str(error).strip() or "no reason given").splitlines()[0][:200]
        raise InputError(
            f"{config.model_name} cannot be built as configured ({type(error).__name__}: {reason}): change model, "
            "frame_size, sampler, preprocessing, loss or optimizer"
        ) from error
