"""Selection of a classifier by the name of its module: `avsd_jax.models.classifiers.<name>.Classifier`."""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn

from avsd_jax.batch import ClassifierInputs
from avsd_jax.common.by_name import build, load_module


def create(name: str, /, **options: Any) -> nn.Module:
    """Builds `avsd_jax.models.classifiers.<name>.Classifier(**options)`.

    Raises:
        InputError: there is no module or option of that name; the message lists the existing ones.
    """
    return build(__name__, name, "classifier", "Classifier", options)


def is_learned(name: str) -> bool:
    """Returns whether a classifier has weights.

    Raises:
        InputError: there is no module of that name; the message lists the existing ones.
    """
    return getattr(load_module(__name__, name, "classifier").Classifier, "learned", True)


def inputs(name: str, options: Mapping[str, Any]) -> ClassifierInputs:
    """Returns what a classifier reads around the moment it classifies.

    Raises:
        InputError: there is no module or option of that name; the message lists the existing ones.
    """
    return create(name, parent=None, **options).inputs
