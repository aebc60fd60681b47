"""From a configuration to the objects it names: model, clip specification, initial variables.

Training, evaluation and prediction share these, so that a trained folder's `config.json` is all they need.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from flax import linen as nn
from flax.errors import FlaxError
from ml_collections import ConfigDict

from avsd_jax import models
from avsd_jax.common.by_name import load_module, name_of
from avsd_jax.config.fields import check_fields
from avsd_jax.data import preprocessing, samplers
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.errors import InputError
from avsd_jax.models import classifiers
from avsd_jax.runs.checkpoint import load_for_inference

_CLIP_FIELDS = ("model_name", "model", "frame_size", "frame_step", "sampler", "sampler_options", "preprocessing")
_CLIP_FIELDS += ("preprocessing_options", "flip", "samples_per_video", "tags")
_LOSS_FIELDS = ("loss", "rho", "bce_weight", "cc_weight", "sim_weight", "nss_weight", "tag_weight", "side_tag_weight")

PREDICTION_KEYS = ("saliency", "gate", "avc_logits")


def _plain(options: ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """Config sections as plain dictionaries, lists as tuples: what a linen module can hold and hash."""
    plain = options.to_dict() if isinstance(options, ConfigDict) else dict(options)
    return {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}


def model_from_config(config: ConfigDict, axis_name: str | None = None) -> nn.Module:
    """Builds `avsd_jax.models.<config.model_name>.Model(**config.model)`.

    Raises:
        InputError: unknown model, an option that the model does not have, or a value of another type or range.
    """
    check_fields(config, ("model_name", "model"))
    return models.create(config.model_name, **_plain(config.model), axis_name=axis_name)


def classifier_inputs(config: ConfigDict) -> Any | None:
    """What the gate's classifier wants to see and hear; None where the model runs no classifier."""
    if _option(config, "classifier", None) is None or _option(config, "gate", "classifier") != "classifier":
        return None
    options = _plain(_option(config, "classifier_options", {}))
    return classifiers.create(_option(config, "classifier", None), **options).inputs


def hears(config: ConfigDict) -> bool:
    """Whether the configured model listens: it has an audio-visual flow, or says `hears = True` in its class."""
    model = load_module("avsd_jax.models", config.model_name, "model").Model
    return "gate" in model.__dataclass_fields__ or getattr(model, "hears", False)


def _option(config: ConfigDict, name: str, otherwise: Any) -> Any:
    """An option of the configured model, its default where the configuration does not give it."""
    model = load_module("avsd_jax.models", config.model_name, "model").Model
    return config.model.get(name, getattr(model, name, otherwise))


def loss_options(config: ConfigDict) -> dict[str, Any]:
    """The loss and the weights of its terms."""
    return {name: config[name] for name in _LOSS_FIELDS}


def _tags(config: ConfigDict) -> tuple[str, ...]:
    """The tags that the configured model learns to tell; none where it has no head for them."""
    num_tags, tags = _option(config, "num_tags", 0), tuple(config.tags)
    if num_tags and num_tags != len(tags):
        raise InputError(f"model.num_tags={num_tags} and config.tags has {len(tags)} words: make them agree")
    return tags if num_tags else ()


def clip_spec(config: ConfigDict) -> ClipSpec:
    """The clips that the configured model reads.

    Raises:
        InputError: a field is missing or has a value of another type or range, or a name is unknown.
    """
    lacking = [name for name in _CLIP_FIELDS if name not in config]
    if lacking:
        raise InputError(f"the configuration has no {', '.join(lacking)}: restore the run's config.json")
    check_fields(config, _CLIP_FIELDS)
    model_from_config(config)  # its options are of the right types
    return ClipSpec(
        clip_size=_option(config, "clip_size", 1),  # a classifier alone has a clock of its own
        frame_size=tuple(config.frame_size),
        frame_step=config.frame_step,
        sampler=samplers.create(config.sampler, **_plain(config.sampler_options)),
        preprocessing=preprocessing.create(config.preprocessing, **_plain(config.preprocessing_options)),
        flip=config.flip,
        samples_per_video=config.samples_per_video,
        avc=classifier_inputs(config),
        audio=hears(config),
        tags=_tags(config),
    )


def make_forward(model: nn.Module) -> Callable[..., dict[str, jax.Array]]:
    """The compiled `forward(variables, batch)` at inference: `PREDICTION_KEYS`, as far as the model has them.

    Raises:
        InputError: when it is called: the model predicts no map, or the variables are those of another one.
    """

    @jax.jit
    def forward(variables: Any, batch: Any) -> dict[str, jax.Array]:
        name = name_of(model)
        try:
            output = model.apply(variables, batch, train=False)
        except (FlaxError, KeyError) as error:  # KeyError: a whole collection is missing
            why = str(error).partition(" (https")[0]
            raise InputError(
                f"the weights are not those of {name} as it is configured ({why}): give them the configuration with "
                "which they were trained"
            ) from error
        if "saliency" not in output:
            raise InputError(f"{name} predicts no map: choose another model, or give its row of a comparison no label")
        return {k: output[k] for k in PREDICTION_KEYS if k in output}

    return forward


def load_model(folder: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Loads a trained or converted model: `model.apply(variables, batch, train=False)` predicts.

    Args:
        folder: of a training run, or what `python -m avsd_jax.convert` wrote.

    Returns:
        The network and its variables, `{"params": ..., "batch_stats": ...}`, as NumPy arrays.

    Raises:
        InputError: the folder holds no model.
    """
    config, variables = load_for_inference(folder)
    return model_from_config(config), variables
