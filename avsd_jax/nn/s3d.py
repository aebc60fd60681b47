"""S3D video encoder (Xie et al., "Rethinking spatiotemporal feature learning", ECCV 2018) as ViNet uses it.

Convolutions are split into space (1 x k x k) and time (k x 1 x 1); no feature gating. Submodule names follow
the keys of the published checkpoints, a dot before a number written as an underscore: `base1.0.conv_s` is
`base1_0/conv_s`.
"""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.conv3d import Conv3D, Lowering
from avsd_jax.nn.norm import BatchNorm, conv_norm_relu
from avsd_jax.nn.pool import max_pool
from avsd_jax.nn.width import scaled

# Channels of an inception block: branch 0; reduce and output of branches 1 and 2; branch 3 (after the pool).
_MIXED: dict[str, tuple[int, int, int, int, int, int]] = {
    "base2_0": (64, 96, 128, 16, 32, 32),
    "base2_1": (128, 128, 192, 32, 96, 64),
    "base3_0": (192, 96, 208, 16, 48, 64),
    "base3_1": (160, 112, 224, 24, 64, 64),
    "base3_2": (128, 128, 256, 24, 64, 64),
    "base3_3": (112, 144, 288, 32, 64, 64),
    "base3_4": (256, 160, 320, 32, 128, 128),
    "base4_0": (256, 160, 320, 32, 128, 128),
    "base4_1": (384, 192, 384, 48, 128, 128),
}

Layer = Callable[..., nn.Module]


class Basic(nn.Module):
    """1x1x1 convolution, BatchNorm, ReLU.

    Attributes:
        features: output channels.
        conv, norm: `Conv3D` and `BatchNorm` with the options that all layers share, here and in the blocks
            below.
    """

    features: int
    conv: Layer
    norm: Layer
    recomputed = True  # see avsd_jax/training/remat.py

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w i"], train: bool) -> Float[Array, "b t h w c"]:
        """Maps [B, T, H, W, I] to [B, T, H, W, features]."""
        conv = self.conv(self.features, (1, 1, 1), name="conv")
        return conv_norm_relu(conv, self.norm(name="bn"), x, train)


class Separable(nn.Module):
    """k x k convolution in space, then k in time, each with BatchNorm and ReLU."""

    features: int
    size: int
    conv: Layer
    norm: Layer
    stride: int = 1
    recomputed = True  # see avsd_jax/training/remat.py

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w i"], train: bool) -> Float[Array, "b t2 h2 w2 c"]:
        """Maps [B, T, H, W, I] to [B, T/s, H/s, W/s, features] for even sizes."""
        k, s, p = self.size, self.stride, self.size // 2
        space = self.conv(self.features, (1, k, k), (1, s, s), (0, p, p), name="conv_s")
        time = self.conv(self.features, (k, 1, 1), (s, 1, 1), (p, 0, 0), name="conv_t")
        x = conv_norm_relu(space, self.norm(name="bn_s"), x, train)
        return conv_norm_relu(time, self.norm(name="bn_t"), x, train)


class Mixed(nn.Module):
    """Inception block: 1x1x1, two reduced separable 3x3x3 and a pooled 1x1x1 branch, concatenated on channels."""

    features: tuple[int, int, int, int, int, int]
    conv: Layer
    norm: Layer
    recomputed = True  # see avsd_jax/training/remat.py

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w i"], train: bool) -> Float[Array, "b t h w c"]:
        """Maps [B, T, H, W, I] to [B, T, H, W, C]; C is the sum of the four branches' outputs."""
        layers = {"conv": self.conv, "norm": self.norm}
        only, reduce1, out1, reduce2, out2, pooled = self.features
        y0 = Basic(only, **layers, name="branch0_0")(x, train)
        y1 = Basic(reduce1, **layers, name="branch1_0")(x, train)
        y1 = Separable(out1, 3, **layers, name="branch1_1")(y1, train)
        y2 = Basic(reduce2, **layers, name="branch2_0")(x, train)
        y2 = Separable(out2, 3, **layers, name="branch2_1")(y2, train)
        y3 = max_pool(x, (3, 3, 3), (1, 1, 1), (1, 1, 1))
        y3 = Basic(pooled, **layers, name="branch3_1")(y3, train)
        return jnp.concatenate([y0, y1, y2, y3], axis=-1)


class S3D(nn.Module):
    """S3D trunk with its taps.

    Attributes:
        width: multiplies every channel count (see `avsd_jax.nn.width.scaled`).
        lowering: see `avsd_jax.nn.conv3d.conv3d`.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
        norm_momentum: fraction of the running statistics that a step keeps; the official 0.999 needs thousands
            of steps until inference matches training, a short run needs less.
    """

    width: float = 1.0
    lowering: Lowering = "auto"
    axis_name: str | None = None
    norm_momentum: float = 0.999

    @nn.compact
    def __call__(self, video: Float[Array, "b t h w 3"], train: bool = False) -> dict[str, Float[Array, "b _ _ _ _"]]:
        """Encodes a clip.

        Args:
            video: [B, T, H, W, 3], normalised RGB; T a multiple of 8, H and W of 32.
            train: use and update batch statistics.

        Returns:
            Taps [B, T', H', W', C] by name, C at width 1:
            stem (T/2, H/2, W/2, 64), y3 (T/2, H/4, W/4, 192), y2 (T/2, H/8, W/8, 480),
            y1 (T/4, H/16, W/16, 832) and y0 (T/8, H/32, W/32, 1024).
        """
        layers = {
            "conv": partial(Conv3D, lowering=self.lowering),
            "norm": partial(BatchNorm, momentum=self.norm_momentum, axis_name=self.axis_name),
        }

        def mixed(x: Float[Array, "b t h w i"], *names: str) -> Float[Array, "b t h w c"]:
            for name in names:
                features = tuple(scaled(c, self.width) for c in _MIXED[name])
                x = Mixed(features, **layers, name=name)(x, train)
            return x

        stem = Separable(scaled(64, self.width), 7, **layers, stride=2, name="base1_0")(video, train)
        x = max_pool(stem, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        x = Basic(scaled(64, self.width), **layers, name="base1_2")(x, train)
        y3 = Separable(scaled(192, self.width), 3, **layers, name="base1_3")(x, train)
        y2 = mixed(max_pool(y3, (1, 3, 3), (1, 2, 2), (0, 1, 1)), "base2_0", "base2_1")
        y1 = max_pool(y2, (3, 3, 3), (2, 2, 2), (1, 1, 1))
        y1 = mixed(y1, "base3_0", "base3_1", "base3_2", "base3_3", "base3_4")
        y0 = mixed(max_pool(y1, (2, 2, 2), (2, 2, 2)), "base4_0", "base4_1")
        return {"stem": stem, "y3": y3, "y2": y2, "y1": y1, "y0": y0}
