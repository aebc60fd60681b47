"""VGG16 as pretrained on ImageNet (its authors' Caffe file): the initial trunk of WSS and SBF."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from flax import linen as nn
from jaxtyping import Array

from avsd_jax.models.common.image_network import ImageNetwork
from avsd_jax.nn.vgg16 import VGG16


class Model(ImageNetwork):
    """The convolutions without the dense layers; their variables are those of `vgg` in WSS and SBF.

    Attributes:
        width: see `avsd_jax.nn.vgg16.VGG16`.
        axis_name: the pmap axis; there are no batch statistics.
    """

    width: float = 1.0
    axis_name: str | None = None
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"frame_size": (224, 224), "preprocessing": "vgg_bgr", "sampler": "centred"}
    )

    def setup(self) -> None:
        """Shares the model's scope, so that the variables have no name prefix."""
        self.trunk = VGG16(self.width)
        nn.share_scope(self, self.trunk)

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Encodes each image.

        Args:
            batch: {"video": [B, 1, H, W, 3]}, BGR in [0, 255] minus the means; other keys are ignored.
            train: without effect.

        Returns:
            conv1 to conv5 [B, h, w, C], the last feature of each block.

        Raises:
            InputError: no video, several frames, or an image of less than 16 pixels.
        """
        del train
        return self.trunk(self.images(batch))
