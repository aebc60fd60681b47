"""MWS's classification network (Zeng et al., "Multi-source weak supervision for saliency detection", CVPR 2019)."""

from collections.abc import Mapping

from flax import linen as nn
from jaxtyping import Array

from avsd_jax.errors import InputError
from avsd_jax.models.common.mws_layers import SMALL, MWSNetwork


class Model(MWSNetwork):
    """CNet: tags of what a map lets through.

    Attributes:
        num_tags: K, 200 classes of ImageNet's detection data as published.
        others: see the base.
    """

    num_tags: int = 200

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Classifies the tags of each image, and maps its foreground.

        Args:
            batch: {"video": [B, 1, H, W, 3]}, ImageNet-normalised RGB; other keys are ignored.
            train: use and update batch statistics, unless they are frozen.

        Returns:
            grid_logits [B, h, w] and tag_logits [B, K]; except in training saliency [B, H, W] in [0, 1] and logits
            [B, H, W].

        Raises:
            InputError: no tags, no video, several frames, an image of less than 16 pixels, or an unknown pool.
        """
        if not self.num_tags:
            raise InputError("num_tags=0, and this network learns from tags: give their number")
        output, pooled = self.encode(self.images(batch), train)
        return output | {"tag_logits": nn.Dense(self.num_tags, kernel_init=SMALL, name="classifier")(pooled)}
