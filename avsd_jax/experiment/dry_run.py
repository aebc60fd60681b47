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

from avsd_jax.batch import batch_shapes
from avsd_jax.errors import InputError
from avsd_jax.runs.components import clip_spec, make_forward, model_from_config
from avsd_jax.runs.optimizer import make_optimizer
from avsd_jax.training.hyperparameters import hyperparameters_by_step, loss_switches
from avsd_jax.training.state import TrainState, create_state
from avsd_jax.training.step import make_train_step

# What decides which network a configuration makes, and which step; the rest are numbers in it, or are not read by it.
_NETWORK_FIELDS = ("model_name", "model", "frame_size", "preprocessing", "preprocessing_options", "tags")
_STEP_FIELDS = (*_NETWORK_FIELDS, "loss", "side_epochs", "optimizer", "optimizer_options", "rates", "schedule")
_STEP_FIELDS += ("rate_drops", "compute_dtype")
# Of these numbers a step depends on whether they are zero: any other stands for them all.
_SWITCHES = ("bce_weight", "cc_weight", "sim_weight", "nss_weight", "tag_weight", "side_tag_weight", "clip_norm")
_SWITCHES += ("ema_decay",)
_ANY = {"total_steps": 100, "warmup_steps": 0, "learning_rate": 0.1}
# Clips have the same shapes however they are drawn.
_ANY_CLIP = {"sampler": "vinet", "sampler_options": {}, "frame_step": 1, "samples_per_video": 1, "flip": False}

# Length of a video on which a sampler is tried.
_VIDEO_FRAMES = 200


@dataclasses.dataclass(frozen=True)
class Shapes:
    """What a configuration makes, as `jax.ShapeDtypeStruct`s.

    Attributes:
        output: what the model returns at inference, by name.
        before, after: the state before and after a step.
        metrics: what a step tells.
    """

    output: dict[str, Any]
    before: TrainState
    after: TrainState
    metrics: dict[str, Any]


def trace(config: ConfigDict) -> Shapes:
    """Shapes of the first training step and of the model's output.

    The same configuration is traced once in a process.

    Raises:
        InputError: no step can be made of the configuration; the message says why.
    """
    output, _ = _network(_network_record(config))
    return Shapes(output, *_step(_step_record(config)))


def variables(config: ConfigDict) -> dict[str, Any]:
    """Shapes of the model's variables; raises as `trace` does."""
    return _network(_network_record(config))[1]


def check_prediction(config: ConfigDict, trained: Any = None) -> None:
    """Raises InputError where the model predicts no map.

    Args:
        config: of the model.
        trained: shapes of the variables of another run, with which it shall; its own by default.
    """
    output, own = _network(_network_record(config))
    if "saliency" in output and trained is None:
        return
    variables = own if trained is None else trained
    forward, shapes = make_forward(model_from_config(config)), batch_shapes(clip_spec(config))
    _guarded(config, lambda: jax.eval_shape(forward, variables, shapes))


def try_data(config: ConfigDict) -> None:
    """Raises InputError where the sampler or the preprocessing does not do what the configuration asks of it."""
    spec = clip_spec(config)
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


def _network_record(config: ConfigDict) -> str:
    """The network's fields as text, by which what was traced is found again."""
    given = json.loads(config.to_json())
    return json.dumps({name: given[name] for name in _NETWORK_FIELDS if name in given} | _ANY_CLIP, sort_keys=True)


def _step_record(config: ConfigDict) -> str:
    """The same for a step."""
    given = json.loads(config.to_json())
    record = {name: given[name] for name in _STEP_FIELDS if name in given} | _ANY | _ANY_CLIP
    record |= {name: 0.5 if given[name] else 0.0 for name in _SWITCHES}
    return json.dumps(record | {"rho": 0.5 if given["rho"] < 1 else 1.0}, sort_keys=True)


@functools.lru_cache(maxsize=128)
def _network(record: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Shapes of the model's output and of its variables."""
    config = ConfigDict(json.loads(record))
    model = model_from_config(config)
    init = functools.partial(model.init_with_output, train=False)
    return _guarded(config, lambda: jax.eval_shape(init, _keys(), batch_shapes(clip_spec(config), 2)))


@functools.lru_cache(maxsize=128)
def _step(record: str) -> tuple[TrainState, TrainState, dict[str, Any]]:
    """Shapes of the state before and after a step, and of its metrics."""
    config = ConfigDict(json.loads(record))
    _, variables = _network(_network_record(config))
    optimizer = make_optimizer(config)
    step = make_train_step(
        model_from_config(config),
        optimizer,
        dict(loss_switches(config)),
        compute_dtype=jnp.dtype(config.compute_dtype),
    )

    numbers = hyperparameters_by_step(config)(0)

    def make() -> tuple[TrainState, TrainState, dict[str, Any]]:
        before = jax.eval_shape(lambda v: create_state(v, optimizer, bool(config.ema_decay)), dict(variables))
        return (before, *jax.eval_shape(step, before, batch_shapes(clip_spec(config), 2), numbers))

    return _guarded(config, make)


def _keys() -> dict[str, Any]:
    return jax.eval_shape(lambda: {"params": jax.random.key(0), "dropout": jax.random.key(0)})


def _guarded(config: ConfigDict, build: Callable[[], Any]) -> Any:
    """What `build` returns; whatever it raises is said of the configuration, on which alone it depends."""
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
