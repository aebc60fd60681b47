"""Choice of a model by its module's name: `avsd_jax.models.<name>.Model`."""

from typing import Any

from flax import linen as nn

from avsd_jax.by_name import load_module


def create(name: str, /, **options: Any) -> nn.Module:
    """Builds `avsd_jax.models.<name>.Model(**options)`.

    Raises:
        InputError: no module of that name; the message lists those there are.
    """
    return load_module(__name__, name, "model").Model(**options)
