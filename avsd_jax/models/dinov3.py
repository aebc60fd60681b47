"""DINOv3's vision transformer as a model of single images: the initial trunk of AAM."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from flax import linen as nn
from jaxtyping import Array

from avsd_jax.batch import read
from avsd_jax.models.common.network import Network
from avsd_jax.nn.dinov3 import DinoV3


class Model(Network):
    """ViT-L/16 by default; its variables are AAM's `backbone` without LoRA.

    Attributes:
        features, depth, heads: see `avsd_jax.nn.dinov3.DinoV3`.
    """

    features: int = 1024
    depth: int = 24
    heads: int = 16
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({"preprocessing": "imagenet", "frame_size": (448, 448)})

    def setup(self) -> None:
        """Shares the model's scope, so that the variables have no name prefix."""
        levels = tuple(self.depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4))
        self.trunk = DinoV3(self.features, self.depth, self.heads, levels=levels)
        nn.share_scope(self, self.trunk)

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Encodes each frame.

        Args:
            batch: {"video": [B, T, H, W, 3]}; other keys are ignored.
            train: stretch coordinates.

        Returns:
            level1 ... level4 [B, T, H/16, W/16, features], after each quarter of the blocks.

        Raises:
            InputError: no video, or sizes that do not fit.
        """
        video = read(batch, "video")
        levels = self.trunk(video.reshape(-1, *video.shape[2:]), train)
        return {f"level{i}": x.reshape(*video.shape[:2], *x.shape[1:]) for i, x in enumerate(levels, 1)}
