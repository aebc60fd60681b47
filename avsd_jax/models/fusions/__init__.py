"""Selection of a fusion by the name of its module: `avsd_jax.models.fusions.<name>.Fusion`."""

from typing import Any

from flax import linen as nn

from avsd_jax.common.by_name import build


def create(name: str, /, **options: Any) -> nn.Module:
    """Builds `avsd_jax.models.fusions.<name>.Fusion(**options)`.

    Raises:
        InputError: there is no module or option of that name; the message lists the existing ones.
    """
    return build(__name__, name, "fusion", "Fusion", options)
