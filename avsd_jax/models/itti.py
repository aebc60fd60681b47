"""The model of Itti, Koch and Niebur (PAMI 1998) of single frames: computed, not learned.

See `avsd_jax.handcrafted.image.itti`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from jaxtyping import Array

from avsd_jax.batch import read
from avsd_jax.handcrafted.image import itti
from avsd_jax.handcrafted.image.maps import logits_of
from avsd_jax.models.common.network import Network


class Model(Network):
    """Itti, Koch and Niebur's saliency of the last frame of a clip, of any size.

    Attributes:
        clip_size: frames of a clip, of which the last one is mapped.
        variant: the public program that it reproduces: "a" for `ittikochmap` of the GBVS toolbox, "c" for
            pySaliencyMap.
    """

    learned = False
    any_size = True
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({"preprocessing": "unit", "frame_size": (360, 640)})

    clip_size: int = 1
    variant: Literal["a", "c"] = "a"

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Computes one map for each clip.

        Args:
            batch: {"video": [B, T, H, W, 3]}, RGB in [0, 1] or bytes; other keys are ignored.
            train: changes nothing.

        Returns:
            saliency [B, H, W] in [0, 1], logits [B, H, W], a map of each channel: colour, intensity and orientation
            [B, h, w], and for variant "a" master [B, h, w], the small map before it is enlarged.

        Raises:
            InputError: no video.
        """
        del train
        found = {"a": itti.toolbox, "c": itti.opencv}[self.variant](read(batch, "video")[:, -1])
        channels = found.pop("channels")
        return found | channels | {"logits": logits_of(found["saliency"])}
