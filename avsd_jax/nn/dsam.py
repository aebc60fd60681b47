"""Deeply supervised attention (DSAM) of SUSiNet and STAViS (Tsiami et al., CVPR 2020).

There is one at each level of the trunk: from the level's map, averaged over time, it computes a spatial attention, and
a side map of the frame's size for the saliency head. It contains no activations.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.conv2d import Deconv2D

# The initial map: sigmoid(-6) = 0.0025, little saliency everywhere.
DARK = nn.initializers.constant(-6.0)
SMALL = nn.initializers.normal(1e-3)


def bilinear_kernel(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Float[Array, "k k i o"]:
    """Initialises a transposed convolution, (k, k, in, out), as bilinear interpolation of each channel by itself."""
    del key
    size = shape[0]
    half = (size + 1) // 2
    centre = half - 1 if size % 2 else half - 0.5
    line = 1 - jnp.abs(jnp.arange(size) - centre) / half
    return (line[:, None, None, None] * line[:, None, None] * jnp.eye(*shape[2:])).astype(dtype)


def centre_crop(x: Float[Array, "b h w c"], size: tuple[int, int]) -> Float[Array, "b h2 w2 c"]:
    """Returns the centre of a map; an odd remainder is cut at the bottom and on the right."""
    top, left = ((have - want) // 2 for have, want in zip(x.shape[1:3], size, strict=True))
    return x[:, top : top + size[0], left : left + size[1]]


class DSAM(nn.Module):
    """The attention and the side map of one level.

    Attributes:
        stride: ratio of the frame's size to the level's.
        features: channels of the side map.
    """

    stride: int
    features: int = 16

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"], size: tuple[int, int]) -> dict[str, Float[Array, "b ..."]]:
        """Computes the attention and the side map of a level.

        Args:
            x: the level's map.
            size: (H, W) of the frame.

        Returns:
            scores [B, h, w], logits of the attention; attention [B, h, w], which sums to 1; side [B, H, W, features];
            side_logits [B, H, W], the scores resized to the frame's size.
        """
        conv: Callable[..., nn.Conv] = partial(nn.Conv, kernel_init=SMALL)
        deconv = partial(
            Deconv2D, size=2 * self.stride, stride=self.stride, use_bias=False, kernel_init=bilinear_kernel
        )
        prepared = conv(self.features, (3, 3), padding=1, name="side_prep")(jnp.mean(x, axis=1))
        scores = conv(1, (1, 1), bias_init=DARK, name="score_dsn")(prepared)
        flat = scores.reshape(scores.shape[0], -1)
        return {
            "scores": scores[..., 0],
            "attention": nn.softmax(flat, axis=-1).reshape(scores.shape[:3]),
            "side": centre_crop(deconv(self.features, name="upscale")(prepared), size),
            "side_logits": centre_crop(deconv(1, name="upscale_")(scores), size)[..., 0],
        }


def attend(x: Float[Array, "b t h w c"], attention: Float[Array, "b h w"]) -> Float[Array, "b t h w c"]:
    """Returns (1 + attention) * x, the same for all times and channels."""
    return x * (1 + attention[:, None, :, :, None])
