"""S of STANet's first release (CVPR 2021): classifies the tags of a single frame, coarse and fine."""

from collections.abc import Mapping

from flax import linen as nn
from jaxtyping import Array

from avsd_jax.models.common import tag_classifiers
from avsd_jax.nn.rfb import RFB
from avsd_jax.nn.width import scaled


class Model(tag_classifiers.Classifier):
    """ResNeXt, a mean over locations and a linear layer.

    Attributes:
        reduce: insert a receptive field block, as in the coarse network; the fine one has none.
        others: see the base.
    """

    reduce: bool = True

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Classifies the tags of each frame.

        Args:
            batch: video [B, 1, H, W, 3], ImageNet-normalised, of any size; other keys are ignored.
            train: use and update batch statistics.

        Returns:
            See `avsd_jax.models.common.tag_classifiers`; also features [B, h, w, C].

        Raises:
            InputError: no video, or more than a frame.
        """
        # The checkpoints of the two networks differ in the name of the trunk.
        feature = self.trunk(self.frames(batch), train, "layerV" if self.reduce else "layer1")
        if self.reduce:
            feature = RFB(scaled(128, self.width), name="layerV_down")(feature)
        feature = self.deepest(feature)
        return {"features": feature} | tag_classifiers.class_activation_head(feature, self.num_tags, "fc")
