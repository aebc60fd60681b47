"""The model of a prediction: that of a folder, or one without weights by its name."""

from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from avsd_jax import models
from avsd_jax.common import hub
from avsd_jax.common.by_name import available
from avsd_jax.config.base import base
from avsd_jax.config.fields import check_fields
from avsd_jax.errors import InputError
from avsd_jax.models import avc
from avsd_jax.runs.checkpoint import NO_VARIABLES, load_for_inference
from avsd_jax.runs.components import Inference


class Loaded(NamedTuple):
    """A model with what it is made from.

    Attributes:
        source: its folder, its address on a hub with the commit, or its name; for messages.
        checkpoint: the same for records; None for a model without weights, taken by its name.
        config: of the run or the model.
        variables: in host memory.
        parts: the network and its clips.
    """

    source: str
    checkpoint: str | None
    config: ConfigDict
    variables: Any
    parts: Inference

    @classmethod
    def of(cls, checkpoint: str | Path | None, model: str, **changes: Any) -> "Loaded":
        """Loads a model that predicts maps.

        Args:
            checkpoint: folder of a training run or of a converted or shared model, or the address of one on a hub;
                None: there is none.
            model: the model without weights that is taken if no checkpoint is given.
            changes: fields of its configuration that are set anew; None leaves one as it is.

        Raises:
            InputError: the folder holds no model, or a classifier alone; the model has weights, or there is none of
                that name; or it cannot have one of the changes.
        """
        place = None if checkpoint is None else hub.pinned(checkpoint)
        config, variables = without_weights(model) if place is None else load_for_inference(place)
        source = place or f"model {model}"
        check_fields(config, ("avc_every",))
        config.update({name: value for name, value in changes.items() if value is not None})
        parts = Inference.from_config(config)
        if isinstance(parts.model, avc.Model):
            raise InputError(
                f"{source} is a classifier of consistency, which predicts no map: run it by python -m avsd_jax.avc, or "
                "give a model that it gates"
            )
        return cls(source, place, config, variables, parts)


def without_weights(name: str) -> tuple[ConfigDict, dict[str, Any]]:
    """Returns the configuration and the empty variables of a model without weights.

    Raises:
        InputError: there is no model of that name, or it has weights.
    """
    if not models.is_learned(name):
        return base(name), dict(NO_VARIABLES)
    raise InputError(
        f"the model {name} has weights: give --checkpoint=DIR, a training run or a converted model, or choose one "
        f"without ({', '.join(name for name in available(models.__name__) if not models.is_learned(name))})"
    )
