"""DenseNet-169 as pretrained on ImageNet (torchvision's layout): the initial trunk of MWS's networks."""

from collections.abc import Mapping, Sequence

from flax import linen as nn
from jaxtyping import Array

from avsd_jax.models.common.image_network import ImageNetwork
from avsd_jax.nn.densenet import DEPTHS_169, DenseNet


class Model(ImageNetwork):
    """The trunk without its classification layer; its variables are MWS's `feature`.

    Attributes:
        width, depths, axis_name: see `avsd_jax.nn.densenet.DenseNet`.
    """

    width: float = 1.0
    depths: Sequence[int] = DEPTHS_169
    axis_name: str | None = None

    def setup(self) -> None:
        """Shares the model's scope, so that the variables have no name prefix."""
        self.trunk = DenseNet(self.depths, self.width, axis_name=self.axis_name)
        nn.share_scope(self, self.trunk)

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Encodes each image.

        Args:
            batch: video [B, 1, H, W, 3], ImageNet-normalised RGB; other keys are ignored.
            train: use and update batch statistics.

        Returns:
            features [B, H/32, W/32, C], after the last norm.

        Raises:
            InputError: no video, several frames, or an image of less than 32 pixels.
        """
        return {"features": self.trunk(self.images(batch), train)}
