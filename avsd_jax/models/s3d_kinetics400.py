"""S3D as pretrained on Kinetics-400 (kylemin/S3D): the initial encoder of ViNet."""

from collections.abc import Mapping

from flax import linen as nn
from jaxtyping import Array

from avsd_jax.batch import read
from avsd_jax.models.common.network import Network
from avsd_jax.nn.conv3d import Lowering
from avsd_jax.nn.s3d import S3D


class Model(Network):
    """S3D's trunk without its classification layer; its variables are ViNet's `backbone`.

    The weights were trained on RGB scaled to [-1, 1] (x / 255 * 2 - 1), not on ImageNet-normalised frames.

    Attributes:
        width: multiplies every channel count.
        lowering: see `avsd_jax.nn.conv3d.conv3d`.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    width: float = 1.0
    lowering: Lowering = "auto"
    axis_name: str | None = None

    def setup(self) -> None:
        """Shares the model's scope, so that the variables have no name prefix."""
        self.backbone = S3D(self.width, self.lowering, self.axis_name)
        nn.share_scope(self, self.backbone)

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Encodes each clip.

        Args:
            batch: {"video": [B, T, H, W, 3]}; other keys are ignored.
            train: use and update batch statistics.

        Returns:
            The taps stem, y3, y2, y1, y0 [B, T', H', W', C]; see `avsd_jax.nn.s3d.S3D`.

        Raises:
            InputError: no video.
        """
        return self.backbone(read(batch, "video"), train)
