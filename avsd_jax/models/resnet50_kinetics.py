"""3-D ResNet-50 as pretrained on Kinetics (Hara et al., CVPR 2018): the initial trunk of STAViS."""

from collections.abc import Mapping

from flax import linen as nn
from jaxtyping import Array

from avsd_jax.batch import read
from avsd_jax.models.common.network import Network
from avsd_jax.nn.conv3d import Lowering
from avsd_jax.nn.resnet3d import ResNet3D


class Model(Network):
    """Stem and stages 1 to 3, without the last stage and the classification layer; its variables are STAViS's `trunk`.

    The weights were trained on RGB 0..255 minus the mean of ActivityNet, as STAViS's are.

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
        self.trunk = ResNet3D(self.width, self.lowering, self.axis_name)
        nn.share_scope(self, self.trunk)

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Encodes each clip.

        Args:
            batch: {"video": [B, T, H, W, 3]}; other keys are ignored.
            train: use and update batch statistics.

        Returns:
            The taps stem and layer1 to layer3 [B, T', H', W', C]; see `avsd_jax.nn.resnet3d.ResNet3D`.

        Raises:
            InputError: no video.
        """
        return self.trunk(read(batch, "video"), train)
