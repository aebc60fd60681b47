"""ST of STANet's first release (CVPR 2021): the classifier of what three successive frames show."""

from collections.abc import Mapping, Sequence

from flax import linen as nn
from jaxtyping import Array

from avsd_jax.errors import InputError
from avsd_jax.models import _scam
from avsd_jax.nn.conv3d import Conv3D
from avsd_jax.nn.resnet import ResNeXt
from avsd_jax.nn.rfb import RFB
from avsd_jax.nn.s3d import scaled


class Model(nn.Module):
    """ResNeXt and a receptive field block, gated by a convolution over three frames; a mean and a linear layer.

    Attributes:
        num_tags: K, how many tags it tells.
        clip_size: 3, for the data pipeline.
        width, depths, axis_name, norm_momentum: see `avsd_jax.nn.resnet.ResNeXt`; the width also scales the head.
    """

    num_tags: int = 28
    clip_size: int = 3
    width: float = 1.0
    depths: Sequence[int] = (3, 4, 23, 3)
    axis_name: str | None = None
    norm_momentum: float = 0.9

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Tells the tags of the middle frame of each triple.

        Args:
            batch: video [B, 3, H, W, 3], ImageNet-normalised, in order of time; other keys are ignored.
            train: use and update batch statistics.

        Returns:
            See `avsd_jax.models._scam`; also features [B, h, w, C], reduced [B, 3, h, w, C] and context
            [B, h, w, C], the gate before its sigmoid.

        Raises:
            InputError: no video, or not of three frames.
        """
        if self.clip_size != 3:
            raise InputError("scam_cvpr_st looks at 3 frames: set clip_size=3")
        video = _scam.clip(batch, 3)
        trunk = ResNeXt(self.width, self.depths, self.axis_name, self.norm_momentum, name="layer1")
        seen = list(trunk(video.reshape(-1, *video.shape[2:]), train).values())[-1]
        channels = scaled(64, self.width)
        seen = RFB(channels, name="rfb")(seen)
        seen = seen.reshape(-1, 3, *seen.shape[1:])
        over_time = Conv3D(channels, (3, 3, 3), padding=(0, 1, 1), use_bias=True, name="refineST")
        context, target = over_time(seen)[:, 0], seen[:, 1]
        feature = nn.Conv(channels, (1, 1), name="refine")(nn.relu(target * nn.sigmoid(context) + target))
        out = {"features": feature, "reduced": seen, "context": context}
        return out | _scam.judged(feature, self.num_tags, "fcl")
