"""The objects that a configuration names, built once and passed to training, evaluation and prediction."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import optax
from flax import linen as nn
from flax.errors import FlaxError
from ml_collections import ConfigDict

from avsd_jax import losses, models
from avsd_jax.batch import step_inputs
from avsd_jax.common.by_name import FLAX_FIELDS, name_of
from avsd_jax.common.compiler import compiler_options
from avsd_jax.config.fields import check_fields
from avsd_jax.data import preprocessing, samplers
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.errors import InputError
from avsd_jax.runs.optimizer import make_optimizer, make_schedule

_CLIP_FIELDS = ("frame_size", "frame_step", "sampler", "sampler_options", "preprocessing", "preprocessing_options")
_CLIP_FIELDS += ("flip", "samples_per_video", "avc_supervision", "tags")

PREDICTION_KEYS = ("saliency", "gate", "avc_logits", "carry")


@dataclasses.dataclass(frozen=True)
class Inference:
    """The objects for prediction and scoring, from the `config.json` of a run or a converted model.

    Attributes:
        model: the network.
        spec: the clips that it reads.
    """

    model: nn.Module
    spec: ClipSpec

    @classmethod
    def from_config(cls, config: ConfigDict) -> "Inference":
        """Builds what a configuration names.

        Raises:
            InputError: a field is missing or has a value of another type or range, or a name is unknown.
        """
        model = model_from_config(config)
        return cls(model, clip_spec(config, model))


@dataclasses.dataclass(frozen=True)
class Components(Inference):
    """The objects for training.

    Attributes:
        optimizer: the whole chain of updates.
        schedule: learning rate by step.
        losses: weights of the terms of the loss, by name.
        rho: share of its saliency part (see `avsd_jax.losses.total`).
        side_weight: weight of side maps by step (see `avsd_jax.losses.side_schedule`); None if they are not trained.
        shared: whether the step is one that other rows of a comparison can use, too; see `step_model`.
    """

    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    losses: Mapping[str, float]
    rho: float
    side_weight: Callable[[Any], Any] | None
    shared: bool = False

    @classmethod
    def from_config(cls, config: ConfigDict) -> "Components":
        """Builds what a configuration names; raises as the base does."""
        parts = Inference.from_config(config)
        return cls(
            parts.model,
            parts.spec,
            optimizer=make_optimizer(config),
            schedule=make_schedule(config),
            losses=_plain(config.losses),
            rho=config.rho,
            side_weight=losses.side_schedule(config.total_steps, config.side_epochs),
        )

    @property
    def terms(self) -> tuple[str, ...]:
        """Returns the names of the terms of the loss that a step computes."""
        return losses.present(self.losses, self.rho)

    @property
    def step_model(self) -> nn.Module:
        """Returns the model whose step is compiled.

        If steps are shared, it is one model for those that differ in their gate alone; that costs a model that never
        fuses the stream which it does not use.
        """
        return self.model.trained_as if self.shared else self.model

    def step_inputs(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the entries of a batch that the step reads."""
        return step_inputs(batch) | (self.model.step_entries(batch) if self.shared else {})

    def over(self, axis_name: str | None) -> "Components":
        """Returns a copy whose model averages its batch statistics over the devices of a pmap axis."""
        return dataclasses.replace(self, model=self.model.clone(axis_name=axis_name))


def _plain(options: ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """Returns a section as a plain dictionary, lists as tuples, which a linen module can hash."""
    plain = options.to_dict() if isinstance(options, ConfigDict) else dict(options)
    return {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}


def model_from_config(config: ConfigDict) -> nn.Module:
    """Builds `avsd_jax.models.<config.model_name>.Model(**config.model)`, of `config.precision`.

    Raises:
        InputError: unknown model, an option that the model does not have, or a value of another type or range.
    """
    check_fields(config, ("model_name", "model", "precision"))
    options = _plain(config.model)
    for path, given in {
        "model": options,
        **{f"model.{k}": v for k, v in options.items() if isinstance(v, Mapping)},
    }.items():
        if not FLAX_FIELDS.isdisjoint(given):
            raise InputError(f"{path}.{min(FLAX_FIELDS & set(given))} is no option of a model: leave it out")
    # Options of a record that are none are refused, so the precision is not among them.
    model = models.create(config.model_name, **options)
    return model.clone(precision=config.get("precision", model.precision))


def clip_spec(config: ConfigDict, model: nn.Module) -> ClipSpec:
    """Builds the specification of the clips that a model reads.

    Raises:
        InputError: a field is missing or has a value of another type or range, a name is unknown, or the model
            classifies another number of tags than the configuration lists, or needs frames of another size.
    """
    lacking = [name for name in _CLIP_FIELDS if name not in config]
    if lacking:
        raise InputError(f"the configuration has no {', '.join(lacking)}: restore the run's config.json")
    check_fields(config, _CLIP_FIELDS)
    if model.num_tags and model.num_tags != len(config.tags):
        raise InputError(
            f"model.num_tags={model.num_tags} and config.tags has {len(config.tags)} words: make them agree"
        )
    needed = model.defaults.get("preprocessing", config.preprocessing)
    if not model.learned and config.preprocessing != needed:
        raise InputError(
            f"preprocessing={config.preprocessing!r}: {name_of(model)} is computed from other values: set "
            f"preprocessing={needed!r}"
        )
    if any(side % model.map_stride for side in config.frame_size):
        raise InputError(
            f"frame_size={tuple(config.frame_size)}: {name_of(model)} needs multiples of {model.map_stride}"
        )
    chosen = preprocessing.create(config.preprocessing, **_plain(config.preprocessing_options))
    if chosen.frame_audio and model.uses_audio and not model.hears_frames:
        raise InputError(
            f"preprocessing={config.preprocessing!r} gives each frame audio of its own, and {name_of(model)} hears "
            "that of a clip: choose another preprocessing"
        )
    return ClipSpec(
        clip_size=model.clip_size,
        frame_size=tuple(config.frame_size),
        frame_step=config.frame_step,
        sampler=samplers.create(config.sampler, **_plain(config.sampler_options)),
        preprocessing=chosen,
        flip=config.flip,
        samples_per_video=config.samples_per_video,
        avc=model.classifier_inputs,
        audio=model.uses_audio,
        tags=tuple(config.tags) if model.num_tags else (),
        avc_supervision=config.avc_supervision,
        instances=model.instances,
        num_maps=model.num_maps,
        map_stride=model.map_stride,
        carries=model.carries,
    )


def make_forward(model: nn.Module, maps: bool = True) -> Callable[..., dict[str, jax.Array]]:
    """Builds the compiled `forward(variables, batch)` at inference: `PREDICTION_KEYS`, as far as the model has them.

    Args:
        model: the network.
        maps: whether it must predict maps.

    Raises:
        InputError: when it is called: the model predicts no map, or the variables are those of another one.
    """

    @partial(jax.jit, compiler_options=compiler_options())
    def forward(variables: Any, batch: Any) -> dict[str, jax.Array]:
        with explained(model):
            output = model.apply(variables, batch, train=False)
        if maps and "saliency" not in output:
            raise InputError(
                f"{name_of(model)} predicts no map: choose another model, train it alone with --mode=train, or give "
                "its row of a comparison no label"
            )
        return {k: output[k] for k in PREDICTION_KEYS if k in output}

    return forward


@contextlib.contextmanager
def explained(model: nn.Module) -> Iterator[None]:
    """Runs a block that applies a model; raises InputError if its variables are those of another one."""
    try:
        yield
    except (FlaxError, KeyError) as error:  # KeyError: a whole collection is missing
        why = str(error).partition(" (https")[0]
        raise InputError(
            f"the weights are not those of {name_of(model)} as it is configured ({why}): give them the configuration "
            "with which they were trained"
        ) from error
