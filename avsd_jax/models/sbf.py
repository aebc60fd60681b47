"""The network of "Supervision by fusion" (Zhang, Han and Zhang, ICCV 2017): DHSNet on VGG16, coarse to fine.

image ──> VGG16 ──> dense layer ──> map at 1/8 of the size ──┐
            └── block 4 ──> sigmoid ──> join ──> recurrent layer ──> map at 1/8 ──> doubled ──> block 3 ... block 1
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.models.common.image_network import ImageNetwork
from avsd_jax.nn.recurrent_conv import RecurrentConv
from avsd_jax.nn.vgg16 import VGG16
from avsd_jax.nn.width import scaled


class Model(ImageNetwork):
    """The published network at width 1 and images of 224 x 224; layers have their published names.

    The dense layer fixes the size of the images.

    Attributes:
        width: multiplies every channel count.
        axis_name: the pmap axis; there are no batch statistics.
    """

    width: float = 1.0
    axis_name: str | None = None
    weak = True
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"frame_size": (224, 224), "preprocessing": "vgg_bgr", "sampler": "centred"}
    )

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Predicts the map of each image.

        Args:
            batch: {"video": [B, 1, H, W, 3]}, BGR in [0, 255] minus the means; other keys are ignored.
            train: without effect.

        Returns:
            saliency [B, H, W] in [0, 1], logits [B, H, W], and those of the coarser maps: logits_global and logits_4
            [B, H/8, W/8], logits_3 [B, H/4, W/4] and logits_2 [B, H/2, W/2].

        Raises:
            InputError: no video, several frames, or a height or width that is not a multiple of 16.
        """
        del train
        images = self.images(batch)
        height, width = images.shape[1:3]
        if height % 16 or width % 16:
            raise InputError(f"images are {height}x{width}: resize them to a height and width that are multiples of 16")
        taps = VGG16(self.width, name="vgg")(images)
        # Caffe's dense layers read channels first.
        deepest = jnp.moveaxis(taps["conv5"], -1, 1).reshape(len(images), -1)
        logits = nn.Dense(height // 8 * (width // 8), name="global_fc6")(deepest).reshape(-1, height // 8, width // 8)
        out = {"logits_global": logits}
        for level in (4, 3, 2, 1):
            logits = self._refined(taps[f"conv{level}"], nn.sigmoid(logits), level)
            out[f"logits_{level}" if level > 1 else "logits"] = logits
        out = {name: x.astype(jnp.float32) for name, x in out.items()}
        return out | {"saliency": nn.sigmoid(out["logits"])}

    def _refined(
        self, tap: Float[Array, "b h w c"], coarse: Float[Array, "b _ _"], level: int
    ) -> Float[Array, "b h w"]:
        """Returns the logits of a level, from its block and the map of the level before."""
        features = scaled(64, self.width)
        reduced = nn.sigmoid(nn.Conv(features, (1, 1), name=f"conv{level}_DR")(tap))
        times = tap.shape[1] // coarse.shape[1]
        # The published transposed convolution of 2 x 2 ones, whose learning rate is 0.
        coarse = jnp.repeat(jnp.repeat(coarse, times, 1), times, 2)
        recurrent = RecurrentConv(features, level)
        nn.share_scope(self, recurrent)
        state = recurrent(jnp.concatenate([reduced, coarse[..., None].astype(reduced.dtype)], axis=-1))
        return nn.Conv(1, (1, 1), name=f"RCL{level}_smR")(state)[..., 0]
