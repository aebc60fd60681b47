"""Residual networks (He et al., CVPR 2016): blocks of any number of dimensions, and two image trunks.

Names follow torchvision's keys, a dot before a number written as an underscore: `layer1.0.downsample.0` is
`layer1_0/downsample_0`.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.nn.conv2d import Conv2D
from avsd_jax.nn.norm import BatchNorm, conv_norm, conv_norm_relu
from avsd_jax.nn.pool import max_pool
from avsd_jax.nn.width import scaled

# A layer factory: conv(features, size, stride, name=...) with padding that keeps the size at stride 1.
Layer = Callable[..., nn.Module]

# What a shortcut does where size or channels change, by the names of He et al.
SHORTCUTS = ("A", "B")


def subsampled(x: Float[Array, "b *space i"], features: int, stride: int) -> Float[Array, "b *space2 o"]:
    """Returns shortcut A, which has no parameters: every `stride`-th element, and zeros as further channels, last."""
    x = x[(slice(None), *(slice(None, None, stride),) * (x.ndim - 2))]
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, features - x.shape[-1])])


def _joined(x: Float[Array, "b *space c"], y: Float[Array, "b *space c"]) -> Float[Array, "b *space c"]:
    """Returns ReLU(x + y), computed once: XLA's CPU backend would add up all blocks before for every block anew."""
    return lax.optimization_barrier(nn.relu(x + y))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut.

    Attributes:
        features: output channels.
        conv, norm: factories of the layers; `conv(features, size, stride, name=...)` decides whether the block has
            2 or 3 dimensions.
        stride: of the first convolution and of the shortcut.
        shortcut: where size or channels change, "B", a strided 1x1 convolution, or "A", `subsampled`.
        detach: whether no gradient passes through a shortcut A.
    """

    features: int
    conv: Layer
    norm: Layer
    stride: int = 1
    shortcut: str = "B"
    detach: bool = False
    recomputed = True  # see avsd_jax/training/remat.py

    @nn.compact
    def __call__(self, x: Float[Array, "b *space i"], train: bool) -> Float[Array, "b *space2 o"]:
        """Applies the block; raises InputError for an unknown shortcut."""
        if self.shortcut not in SHORTCUTS:
            raise InputError(f"unknown shortcut {self.shortcut!r}: choose one of {', '.join(SHORTCUTS)}")
        y = conv_norm_relu(self.conv(self.features, 3, self.stride, name="conv1"), self.norm(name="bn1"), x, train)
        y = conv_norm(self.conv(self.features, 3, 1, name="conv2"), self.norm(name="bn2"), y, train)
        changes = self.stride != 1 or x.shape[-1] != self.features
        if changes and self.shortcut == "A":
            x = subsampled(lax.stop_gradient(x) if self.detach else x, self.features, self.stride)
        elif changes:
            shortcut = self.conv(self.features, 1, self.stride, name="downsample_0")
            x = conv_norm(shortcut, self.norm(name="downsample_1"), x, train)
        return _joined(x, y)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride, and in groups) and 1x1 convolution, and a shortcut.

    Attributes:
        width: channels between.
        features: output channels.
        conv, norm: as in `BasicBlock`.
        stride: of the 3x3 convolution and of the shortcut.
        groups: of the 3x3 convolution, where `conv` takes them.
    """

    width: int
    features: int
    conv: Layer
    norm: Layer
    stride: int = 1
    groups: int = 1
    recomputed = True  # see avsd_jax/training/remat.py

    @nn.compact
    def __call__(self, x: Float[Array, "b *space i"], train: bool) -> Float[Array, "b *space2 o"]:
        """Applies the block; the shortcut is a strided 1x1 convolution if size or channels change."""
        grouped = {"groups": self.groups} if self.groups > 1 else {}
        y = conv_norm_relu(self.conv(self.width, 1, 1, name="conv1"), self.norm(name="bn1"), x, train)
        middle = self.conv(self.width, 3, self.stride, name="conv2", **grouped)
        y = conv_norm_relu(middle, self.norm(name="bn2"), y, train)
        y = conv_norm(self.conv(self.features, 1, 1, name="conv3"), self.norm(name="bn3"), y, train)
        if self.stride != 1 or x.shape[-1] != self.features:
            shortcut = self.conv(self.features, 1, self.stride, name="downsample_0")
            x = conv_norm(shortcut, self.norm(name="downsample_1"), x, train)
        return _joined(x, y)


def _stem(x: Float[Array, "b h w i"], features: int, norm: Layer, train: bool) -> Float[Array, "b h2 w2 c"]:
    """Applies a 7x7 convolution and a max-pool, each of stride 2."""
    x = conv_norm_relu(Conv2D(features, 7, 2, name="conv1"), norm(name="bn1"), x, train)
    return max_pool(x[:, None], (1, 3, 3), (1, 2, 2), (0, 1, 1))[:, 0]


class ResNeXt(nn.Module):
    """ResNeXt-101 32x8d (Xie et al., CVPR 2017) without its classification layer.

    Attributes:
        width: multiplies the number of groups, 32, of 8 channels in the first stage, and so all channels.
        depths: blocks of each stage; a shorter one ends the network after its last stage.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
        norm_momentum: share of the running statistics that a step keeps; PyTorch's 0.1 is 0.9 here.
    """

    width: float = 1.0
    depths: Sequence[int] = (3, 4, 23, 3)
    axis_name: str | None = None
    norm_momentum: float = 0.9

    @nn.compact
    def __call__(self, images: Float[Array, "b h w 3"], train: bool = False) -> dict[str, Float[Array, "b _ _ _"]]:
        """Encodes images.

        Args:
            images: [B, H, W, 3], ImageNet-normalised RGB, of any size.
            train: use and update batch statistics.

        Returns:
            layer1 [B, H/4, W/4, 256], layer2 (/8, 512), layer3 (/16, 1024), layer4 (/32, 2048), sizes rounded up.
        """
        norm = partial(BatchNorm, self.norm_momentum, 1e-5, self.axis_name, unbiased=True)
        groups = max(1, round(32 * self.width))
        x = _stem(images, scaled(64, self.width), norm, train)
        taps = {}
        for stage, depth in enumerate(self.depths):
            features = groups * 8 * 2**stage
            for block in range(depth):
                stride = 2 if stage and not block else 1
                name = f"layer{stage + 1}_{block}"
                x = Bottleneck(features, features, Conv2D, norm, stride, groups, name=name)(x, train)
            taps[f"layer{stage + 1}"] = x
        return taps


class ResNet18(nn.Module):
    """ResNet-18 without its classification layer.

    Attributes:
        width: multiplies the channel counts (see `avsd_jax.nn.width.scaled`).
        axis_name, norm_momentum: as in `ResNeXt`.
        last_stride: of layer4; 1 keeps layer3's size, for finer maps.
    """

    width: float = 1.0
    axis_name: str | None = None
    norm_momentum: float = 0.9
    last_stride: int = 2

    @nn.compact
    def __call__(self, images: Float[Array, "b h w i"], train: bool = False) -> dict[str, Float[Array, "b _ _ _"]]:
        """Returns layer1 [B, H/4, W/4, 64], layer2 (/8, 128), layer3 (/16, 256), layer4 (/32, 512), rounded up."""
        norm = partial(BatchNorm, self.norm_momentum, 1e-5, self.axis_name, unbiased=True)
        x = _stem(images, scaled(64, self.width), norm, train)
        taps = {}
        for stage, first_stride in enumerate((1, 2, 2, self.last_stride)):
            for block in range(2):
                stride = 1 if block else first_stride
                name = f"layer{stage + 1}_{block}"
                x = BasicBlock(scaled(64, self.width) * 2**stage, Conv2D, norm, stride, name=name)(x, train)
            taps[f"layer{stage + 1}"] = x
        return taps
