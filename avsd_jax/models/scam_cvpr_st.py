"""ST of STANet's first release (CVPR 2021): classifies the tags of three consecutive frames."""

from collections.abc import Mapping

from flax import linen as nn
from jaxtyping import Array

from avsd_jax.models.common import tag_classifiers
from avsd_jax.nn.conv3d import Conv3D
from avsd_jax.nn.rfb import RFB
from avsd_jax.nn.width import scaled


class Model(tag_classifiers.TripleClassifier):
    """ResNeXt and a receptive field block, gated by a convolution over three frames; a mean and a linear layer.

    The options are those of the base.
    """

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Classifies the tags of the middle frame of each triple.

        Args:
            batch: video [B, 3, H, W, 3], ImageNet-normalised, in temporal order; other keys are ignored.
            train: use and update batch statistics.

        Returns:
            See `avsd_jax.models.common.tag_classifiers`; also features [B, h, w, C], reduced [B, 3, h, w, C] and
            context [B, h, w, C], the gate before its sigmoid.

        Raises:
            InputError: no video, or not of three frames.
        """
        seen = self.trunk(self.triples(batch), train, "layer1")
        channels = scaled(64, self.width)
        seen = RFB(channels, name="rfb")(seen)
        seen = seen.reshape(-1, 3, *seen.shape[1:])
        over_time = Conv3D(channels, (3, 3, 3), padding=(0, 1, 1), use_bias=True, name="refineST")
        context, target = over_time(seen)[:, 0], seen[:, 1]
        gated = nn.relu(target * nn.sigmoid(context) + target)
        feature = self.deepest(nn.Conv(channels, (1, 1), name="refine")(gated))
        out = {"features": feature, "reduced": seen, "context": context}
        return out | tag_classifiers.class_activation_head(feature, self.num_tags, "fcl")
