"""ResNeXt-101 32x8d as pretrained on images (WSL-Images; torchvision's layout): the initial trunk of STANet."""

from collections.abc import Mapping, Sequence

from flax import linen as nn
from jaxtyping import Array

from avsd_jax.batch import read
from avsd_jax.models.common.network import Network
from avsd_jax.nn.resnet import ResNeXt


class Model(Network):
    """The trunk without its classification layer; its variables are STANet's `visual`.

    Attributes:
        width, depths, axis_name: see `avsd_jax.nn.resnet.ResNeXt`.
    """

    width: float = 1.0
    depths: Sequence[int] = (3, 4, 23, 3)
    axis_name: str | None = None

    def setup(self) -> None:
        """Shares the model's scope, so that the variables have no name prefix."""
        self.trunk = ResNeXt(self.width, self.depths, self.axis_name)
        nn.share_scope(self, self.trunk)

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Encodes each frame.

        Args:
            batch: video [B, T, H, W, 3], ImageNet-normalised RGB; other keys are ignored.
            train: use and update batch statistics.

        Returns:
            layer1 ... layer4 [B, T, h, w, C].

        Raises:
            InputError: no video.
        """
        video = read(batch, "video")
        taps = self.trunk(video.reshape(-1, *video.shape[2:]), train)
        return {name: x.reshape(*video.shape[:2], *x.shape[1:]) for name, x in taps.items()}
