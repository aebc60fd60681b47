"""WSS's saliency network (Wang et al., "Learning to detect salient objects with image-level supervision", CVPR 2017).

VGG16 ──> block 5 ──> score ──> x2 ──> + score of block 4 ──> x2 ──> + score of block 3 ──> x4 ──> softmax
"""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.models.common.wss_layers import SLOPE, WSSNetwork, any_bilinear
from avsd_jax.nn.conv2d import Deconv2D


class Model(WSSNetwork):
    """The published network at width 1; layers have their published names. The options are those of the base."""

    weak = True

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Predicts the map of each image.

        Args:
            batch: {"video": [B, 1, H, W, 3]}, BGR in [0, 255] minus the means, of any size (published: 256 x 256; other
                ones are padded at the bottom and on the right, as Caffe's pools round up); other keys are ignored.
            train: use and update batch statistics.

        Returns:
            saliency [B, H, W] in [0, 1], the second of two classes; logits [B, H, W], the difference of their scores.

        Raises:
            InputError: no video, several frames, or an image of less than 16 pixels.
        """
        images = self.images(batch)
        taps, score = self.encode(images, train)
        x = self._enlarged(nn.leaky_relu(score, SLOPE), taps["conv4"], 1, 2, train)
        x = self._enlarged(x + self._side(taps["conv4"], 4, train), taps["conv3"], 2, 2, train)
        x = self._enlarged(x + self._side(taps["conv3"], 3, train), images, 3, 4, train)
        x = x.astype(jnp.float32)
        logits = x[..., 1] - x[..., 0]
        return {"saliency": nn.sigmoid(logits), "logits": logits}

    def _side(self, tap: Float[Array, "b h w c"], block: int, train: bool) -> Float[Array, "b h w 2"]:
        return self.norm(nn.Conv(2, (3, 3), name=f"conv{block}_score")(tap), f"conv{block}_score", train)

    def _enlarged(
        self, x: Float[Array, "b h w _"], like: Float[Array, "b h2 w2 _"], number: int, stride: int, train: bool
    ) -> Float[Array, "b h2 w2 2"]:
        """Enlarges scores to the size of `like`; all but the last are activated."""
        name = f"upscore{number}"
        x = Deconv2D(2, 2 * stride, stride, use_bias=False, kernel_init=any_bilinear, name=name)(x)
        x = x[:, stride // 2 :, stride // 2 :][:, : like.shape[1], : like.shape[2]]
        return self.norm(x, name, train, leaky=number < 3)
