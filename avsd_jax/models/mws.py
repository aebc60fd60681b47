"""MWS's saliency network (Zeng et al., "Multi-source weak supervision for saliency detection", CVPR 2019)."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from avsd_jax.models.common.image_network import ImageNetwork
from avsd_jax.nn.conv2d import Deconv2D
from avsd_jax.nn.densenet import DEPTHS_169, DenseNet, DilatedConv
from avsd_jax.nn.dsam import bilinear_kernel
from avsd_jax.nn.resize import resize_bilinear

_DILATIONS = (6, 12, 18, 24)


class Model(ImageNetwork):
    """SNet: DeepLab on DenseNet-169 of stride 8; the published network at width 1.

    Attributes:
        width, depths: see `avsd_jax.nn.densenet.DenseNet`.
        frozen_norm: as published, batch statistics are those of the initial weights.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    width: float = 1.0
    depths: Sequence[int] = DEPTHS_169
    frozen_norm: bool = True
    axis_name: str | None = None
    weak = True
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"frame_size": (256, 256), "preprocessing": "imagenet", "sampler": "centred"}
    )

    @property
    def frozen(self) -> bool:
        """Returns whether batch statistics are."""
        return self.frozen_norm

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Predicts the map of each image.

        Args:
            batch: {"video": [B, 1, H, W, 3]}, ImageNet-normalised RGB of any size; other keys are ignored.
            train: use and update batch statistics, unless they are frozen.

        Returns:
            saliency [B, H, W] in [0, 1] and logits [B, H, W].

        Raises:
            InputError: no video, several frames, or an image of less than 8 pixels.
        """
        images = self.images(batch)
        net = DenseNet(
            self.depths,
            self.width,
            (True, False, False),
            (1, 1, 2, 4),
            self.frozen_norm,
            self.axis_name,
            name="feature",
        )
        feature = net(images, train)
        scores = sum(DilatedConv(1, rate, True, name=f"preds_{i}")(feature) for i, rate in enumerate(_DILATIONS))
        x = Deconv2D(1, 16, 8, kernel_init=bilinear_kernel, name="upscale")(scores)[:, 4:-4, 4:-4]
        if x.shape[1:3] != images.shape[1:3]:  # where the pools round down
            x = resize_bilinear(x, images.shape[1:3])
        logits = x[..., 0].astype(jnp.float32)
        return {"saliency": nn.sigmoid(logits), "logits": logits}
