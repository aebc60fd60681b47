"""The 3-D residual networks of Hara et al. (CVPR 2018): STAViS's trunk, and DAVE's two.

Names follow the keys of the published checkpoints, a dot before a number written as an underscore: `layer1.0.conv1` is
`layer1_0/conv1`.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.conv3d import Conv3D, Lowering
from avsd_jax.nn.norm import BatchNorm, conv_norm_relu
from avsd_jax.nn.pool import max_pool
from avsd_jax.nn.resnet import BasicBlock, Bottleneck
from avsd_jax.nn.width import scaled

# Blocks of the stages of ResNet-50, without its last one, and of ResNet-18.
DEPTHS = (3, 4, 6)
DEPTHS_18 = (2, 2, 2, 2)

_HE_FAN_OUT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Stem(Conv3D):
    """The first layer; a clip of one channel is taken for three equal ones, whose kernels are summed instead."""

    channels = 3

    def learned_kernel(self, channels: int) -> Float[Array, "t h w i o"]:
        """Returns the kernel for inputs of one channel or of three."""
        kernel = super().learned_kernel(self.channels)
        return jnp.sum(kernel, axis=3, keepdims=True) if channels == 1 else kernel


class ResNet3D(nn.Module):
    """The trunk in parts, between which a model may insert layers.

    Attributes:
        width: multiplies every channel count (see `avsd_jax.nn.width.scaled`).
        lowering: see `avsd_jax.nn.conv3d.conv3d`.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
        norm_momentum: share of the running statistics that a step keeps; PyTorch's 0.1 is 0.9 here.
        depths: blocks of each stage.
        basic: whether blocks are basic ones, as in ResNet-18, instead of bottlenecks.
        shortcut, detach_shortcut: of basic blocks, see `avsd_jax.nn.resnet.BasicBlock`.
        kernel_init: initialiser of all kernels.
    """

    width: float = 1.0
    lowering: Lowering = "auto"
    axis_name: str | None = None
    norm_momentum: float = 0.9
    depths: Sequence[int] = DEPTHS
    basic: bool = False
    shortcut: str = "B"
    detach_shortcut: bool = False
    kernel_init: Callable[..., jax.Array] = _HE_FAN_OUT

    def setup(self) -> None:
        """Names the layers as the checkpoints do."""
        norm = partial(BatchNorm, self.norm_momentum, 1e-5, self.axis_name, unbiased=True)
        layer = partial(Conv3D, lowering=self.lowering, kernel_init=self.kernel_init)

        def conv(features: int, size: int, stride: int, name: str) -> Conv3D:
            return layer(features, (size,) * 3, (stride,) * 3, (size // 2,) * 3, name=name)

        def block(inner: int, stride: int) -> nn.Module:
            if self.basic:
                return BasicBlock(inner, conv, norm, stride, self.shortcut, self.detach_shortcut)
            return Bottleneck(inner, 4 * inner, conv, norm, stride)

        base = scaled(64, self.width)
        self.conv1 = Stem(base, (7, 7, 7), (1, 2, 2), (3, 3, 3), lowering=self.lowering, kernel_init=self.kernel_init)
        self.bn1 = norm()
        for stage, depth in enumerate(self.depths):
            for number in range(depth):
                stride = 2 if stage and not number else 1
                setattr(self, f"layer{stage + 1}_{number}", block(base * 2**stage, stride))

    def stem(self, video: Float[Array, "b t h w i"], train: bool) -> Float[Array, "b t h2 w2 c"]:
        """Maps [B, T, H, W, 3] to [B, T, H/2, W/2, 64], sizes rounded up; one channel stands for three equal ones."""
        return conv_norm_relu(self.conv1, self.bn1, video, train)

    def pool(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t2 h2 w2 c"]:
        """Halves time, height and width, rounded up."""
        return max_pool(x, (3, 3, 3), (2, 2, 2), (1, 1, 1))

    def stage(self, number: int, x: Float[Array, "b t h w i"], train: bool) -> Float[Array, "b t2 h2 w2 c"]:
        """Applies a stage: 1 (64 channels, four times as many of bottlenecks, same size), or the next ones.

        Each of them doubles the channels and halves the size.
        """
        for block in range(self.depths[number - 1]):
            x = getattr(self, f"layer{number}_{block}")(x, train)
        return x

    def __call__(
        self, video: Float[Array, "b t h w i"], train: bool = False, stem: Float[Array, "b t h2 w2 c"] | None = None
    ) -> dict[str, Float[Array, "b _ _ _ _"]]:
        """Returns stem (T, H/2, W/2), layer1 (T/2, H/4, W/4), layer2 (/4, /8, /8), layer3 (/8, /16, /16) and so on.

        Args:
            video: a clip; not read if the stem's output is known.
            train: use and update batch statistics.
            stem: the stem's output.
        """
        taps = {"stem": self.stem(video, train) if stem is None else stem}
        x = self.pool(taps["stem"])
        for number in range(1, len(self.depths) + 1):
            taps[f"layer{number}"] = x = self.stage(number, x, train)
        return taps
