"""WSS's first stage: tags of images, found where a map of the foreground lets them through (Wang et al., CVPR 2017).

No code of this stage is public. From the paper as it is remembered: a foreground network on the features of VGG16, and
a pooling of masked evidence that lies between the maximum and the mean over locations (global smooth pooling).
"""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from avsd_jax.errors import InputError
from avsd_jax.models.common.image_network import grid_outputs
from avsd_jax.models.common.wss_layers import WSSNetwork
from avsd_jax.nn.pool import simplex_max


class Model(WSSNetwork):
    """The part of `wss` up to its coarse score, which is the map here, and class maps.

    A run of it starts the saliency network: `init` of `wss` names it.

    Attributes:
        num_tags: K, 200 classes of ImageNet's detection data as published.
        smoothing: of the pooling, see `avsd_jax.nn.pool.simplex_max`; our choice.
        others: see the base.
    """

    num_tags: int = 200
    smoothing: float = 1.0

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Classifies the tags of each image, and maps its foreground.

        Args:
            batch: {"video": [B, 1, H, W, 3]}, BGR in [0, 255] minus the means; other keys are ignored.
            train: use and update batch statistics.

        Returns:
            tag_logits [B, K]; grid_logits [B, h, w], the map's on the grid of the features; except in training saliency
            [B, H, W] in [0, 1] and logits [B, H, W].

        Raises:
            InputError: no tags, smoothing of 0 or less, no video, several frames, or an image of less than 16 pixels.
        """
        if not self.num_tags or self.smoothing <= 0:
            raise InputError(f"num_tags={self.num_tags}, smoothing={self.smoothing}: give numbers above 0")
        images = self.images(batch)
        taps, score = self.encode(images, train)
        evidence = nn.Conv(self.num_tags, (1, 1), name="class_maps")(self.deepest(taps["conv5"]))
        tags = simplex_max((evidence * nn.sigmoid(score)).astype(jnp.float32), self.smoothing)
        return grid_outputs(score, images.shape[1:3], train) | {"tag_logits": tags}
