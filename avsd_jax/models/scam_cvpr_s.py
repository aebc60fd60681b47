"""S of STANet's first release (CVPR 2021): the classifier of what a single frame shows, coarse and fine."""

from collections.abc import Mapping, Sequence

from flax import linen as nn
from jaxtyping import Array

from avsd_jax.models import _scam
from avsd_jax.nn.resnet import ResNeXt
from avsd_jax.nn.rfb import RFB
from avsd_jax.nn.s3d import scaled


class Model(nn.Module):
    """ResNeXt, a mean over places and a linear layer.

    Attributes:
        num_tags: K, how many tags it tells.
        reduce: put a receptive field block between, as the coarse network does; the fine one has none.
        width, depths, axis_name, norm_momentum: see `avsd_jax.nn.resnet.ResNeXt`; the width also scales the block.
    """

    num_tags: int = 28
    reduce: bool = True
    width: float = 1.0
    depths: Sequence[int] = (3, 4, 23, 3)
    axis_name: str | None = None
    norm_momentum: float = 0.9

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Tells the tags of each frame.

        Args:
            batch: video [B, 1, H, W, 3], ImageNet-normalised, of any size; other keys are ignored.
            train: use and update batch statistics.

        Returns:
            See `avsd_jax.models._scam`; also features [B, h, w, C].

        Raises:
            InputError: no video, or more than a frame.
        """
        frames = _scam.clip(batch, 1)[:, 0]
        # The two networks' keys differ in the name of the trunk.
        name = "layerV" if self.reduce else "layer1"
        trunk = ResNeXt(self.width, self.depths, self.axis_name, self.norm_momentum, name=name)
        feature = list(trunk(frames, train).values())[-1]
        if self.reduce:
            feature = RFB(scaled(128, self.width), name="layerV_down")(feature)
        return {"features": feature} | _scam.judged(feature, self.num_tags, "fc")
