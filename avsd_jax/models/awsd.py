"""Adaptive whitening saliency of single frames or short clips: computed, not learned, with constants of our own.

See `avsd_jax.handcrafted.image.awsd`, which also says how far it is from the published AWS-D.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from jaxtyping import Array

from avsd_jax.batch import read
from avsd_jax.handcrafted.image import awsd
from avsd_jax.handcrafted.image.maps import logits_of
from avsd_jax.models.common.network import Network


class Model(Network):
    """Adaptive whitening saliency of the last frame of a clip, of any size.

    Attributes:
        clip_size: frames of a clip; with 1 the model is static.
        map_size: longest side at which frames are analysed, pixels.
        smoothing: standard deviation of the final blur, fraction of the longest side.
    """

    learned = False
    any_size = True
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({"preprocessing": "unit", "frame_size": (360, 640)})

    clip_size: int = 5
    map_size: int = 128
    smoothing: float = 0.02

    def still(self) -> "Model":
        """Returns the static form."""
        return self.clone(clip_size=1)

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Computes one map for each clip.

        Args:
            batch: {"video": [B, T, H, W, 3]}, RGB in [0, 1] or bytes; other keys are ignored.
            train: changes nothing.

        Returns:
            saliency [B, H, W] in [0, 1], logits [B, H, W], and master [B, h, w], a density that sums to one.

        Raises:
            InputError: no video.
        """
        del train
        found = awsd.awsd(read(batch, "video"), awsd.Options(map_size=self.map_size, smoothing=self.smoothing))
        return found | {"logits": logits_of(found["saliency"])}
