"""Choice of a classifier by its module's name: `avsd_jax.models.classifiers.<name>.Classifier`."""

from typing import Any

from flax import linen as nn

from avsd_jax.common.by_name import build


def create(name: str, /, **options: Any) -> nn.Module:
    """Builds `avsd_jax.models.classifiers.<name>.Classifier(**options)`.

    Raises:
        InputError: no module of that name, or no such option; the message lists those there are.
    """
    return build(__name__, name, "classifier", "Classifier", options)
