"""A model without weights: the brighter, the more salient."""

from collections.abc import Mapping
from types import MappingProxyType

from jaxtyping import Array

from avsd_jax.batch import read
from avsd_jax.models.common.network import Network


class Model(Network):
    """Maps the last frame of a clip."""

    learned = False
    any_size = True
    defaults = MappingProxyType({"preprocessing": "unit", "frame_size": (32, 32)})

    clip_size: int = 1

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        saliency = read(batch, "video")[:, -1].mean(-1)
        return {"saliency": saliency, "logits": saliency}
