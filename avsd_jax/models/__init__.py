"""Selection of a model by the name of its module: `avsd_jax.models.<name>.Model`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from flax.core import FrozenDict

from avsd_jax.common.by_name import build, load_module


def create(name: str, /, **options: Any) -> nn.Module:
    """Builds `avsd_jax.models.<name>.Model(**options)`; models of equal options are equal and have the same hash.

    Raises:
        InputError: there is no module or option of that name; the message lists the existing ones.
    """
    model = build(__name__, name, "model", "Model", options)
    values = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    # Options are dictionaries, which have no hash; and what is compiled for a model is found again by its hash.
    return model.clone(**{k: _hashable(v) for k, v in values.items() if isinstance(v, Mapping | list)})


def is_learned(name: str) -> bool:
    """Returns whether the models of a module have weights; those without any need no training and no checkpoint.

    Raises:
        InputError: there is no module of that name.
    """
    return load_module(__name__, name, "model").Model.learned


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return FrozenDict({k: _hashable(v) for k, v in value.items()})
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value
