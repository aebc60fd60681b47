"""Layers that the two stages of WSS share, by the names of the published network."""

from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.models.common.image_network import ImageNetwork
from avsd_jax.nn.norm import BatchNorm
from avsd_jax.nn.vgg16 import VGG16

# Caffe's slope of negative values in these networks.
SLOPE = 0.01


class WSSNetwork(ImageNetwork):
    """VGG16 and the map of its last block.

    Attributes:
        width: multiplies every channel count but those of maps.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
        norm_momentum: share of the running statistics that a step keeps; Caffe's default is 0.999.
    """

    width: float = 1.0
    axis_name: str | None = None
    norm_momentum: float = 0.999
    defaults = MappingProxyType({"frame_size": (256, 256), "preprocessing": "vgg_bgr", "sampler": "centred"})

    def norm(self, x: Float[Array, "b h w c"], of: str, train: bool, leaky: bool = True) -> Float[Array, "b h w c"]:
        """Normalises what the layer `of` gives, and applies a leaky ReLU; call it in a compact method."""
        layer = BatchNorm(self.norm_momentum, 1e-5, self.axis_name, unbiased=True, name=f"bn_{of}")
        x = layer(x, use_running_average=not train)
        return nn.leaky_relu(x, SLOPE) if leaky else x

    def encode(self, images: Float[Array, "b h w 3"], train: bool) -> tuple[dict[str, Any], Float[Array, "b h2 w2 1"]]:
        """Returns VGG16's features, the last one normalised, and the coarse score of saliency; in a compact method."""
        taps = VGG16(self.width, ceil=True, last_relu=False, name="vgg")(images)
        taps["conv5"] = self.norm(taps["conv5"], "conv5_3", train)
        score = nn.Conv(1, (3, 3), use_bias=False, name="conv5_3_score")(taps["conv5"])
        return taps, self.norm(score, "conv5_3_score", train, leaky=False)


def any_bilinear(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Float[Array, "k k i o"]:
    """Initialises a transposed convolution, (k, k, in, out), as Caffe does: every pair of channels bilinearly."""
    del key
    size = shape[0]
    half = -(-size // 2)
    centre = (2 * half - 1 - half % 2) / (2 * half)
    line = 1 - jnp.abs(jnp.arange(size) / half - centre)
    return jnp.broadcast_to((line[:, None] * line)[:, :, None, None], shape).astype(dtype)
