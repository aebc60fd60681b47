"""R(2+1)D-18 (Tran et al., CVPR 2018) as AVID builds it.

It differs from the original: spatial and temporal convolutions have the block's number of channels (no wider middle),
the last convolution of a block has no norm of its own (one BatchNorm follows the sum with the shortcut), the stem ends
in a max-pool, and features are pooled by their maximum. Names follow the keys of the published checkpoints, a dot
before a number written as an underscore: `conv3x.0.spt_conv1` is `conv3x_0/spt_conv1`.
"""

from collections.abc import Callable
from functools import partial

from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.conv3d import Conv3D, Lowering
from avsd_jax.nn.norm import BatchNorm, conv_norm_relu
from avsd_jax.nn.pool import max_pool
from avsd_jax.nn.width import scaled

# PyTorch's default for convolutions and dense layers.
TORCH_UNIFORM = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")

STAGES = ("conv2x", "conv3x", "conv4x", "conv5x")

Layer = Callable[..., nn.Module]


class Block(nn.Module):
    """Two factorised 3x3x3 convolutions and a shortcut, normalised once after their sum.

    Attributes:
        features: output channels.
        conv, norm: `Conv3D` and `BatchNorm` with the options that all layers share.
        stride: of the first convolutions and of the shortcut, in time, height and width.
    """

    features: int
    conv: Layer
    norm: Layer
    stride: int = 1
    recomputed = True  # see avsd_jax/training/remat.py

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w i"], train: bool) -> Float[Array, "b t2 h2 w2 c"]:
        """Maps [B, T, H, W, I] to [B, T/s, H/s, W/s, features], sizes rounded up."""
        s = self.stride
        y = conv_norm_relu(self._space(1, s), self.norm(name="spt_bn1"), x, train)
        y = conv_norm_relu(self._time(1, s), self.norm(name="tmp_bn1"), y, train)
        y = self._time(2, 1)(conv_norm_relu(self._space(2, 1), self.norm(name="spt_bn2"), y, train))
        if s != 1 or x.shape[-1] != self.features:
            x = self.conv(self.features, (1, 1, 1), (s, s, s), name="res_conv")(x)
        return nn.relu(self.norm(name="out_bn")(y + x, use_running_average=not train))

    def _space(self, number: int, stride: int) -> nn.Module:
        return self.conv(self.features, (1, 3, 3), (1, stride, stride), (0, 1, 1), name=f"spt_conv{number}")

    def _time(self, number: int, stride: int) -> nn.Module:
        return self.conv(self.features, (3, 1, 1), (stride, 1, 1), (1, 0, 0), name=f"tmp_conv{number}")


class R2Plus1D(nn.Module):
    """R(2+1)D-18 without its classification layer.

    Attributes:
        width: multiplies the channel counts (see `avsd_jax.nn.width.scaled`).
        lowering: see `avsd_jax.nn.conv3d.conv3d`.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
        norm_momentum: share of the running statistics that a step keeps; PyTorch's 0.1 is 0.9 here.
    """

    width: float = 1.0
    lowering: Lowering = "auto"
    axis_name: str | None = None
    norm_momentum: float = 0.9

    @nn.compact
    def __call__(self, video: Float[Array, "b t h w 3"], train: bool = False) -> dict[str, Float[Array, "b ..."]]:
        """Encodes a clip of any length and size.

        Args:
            video: [B, T, H, W, 3], ImageNet-normalised RGB.
            train: use and update batch statistics.

        Returns:
            conv1 and conv2x [B, T, H/4, W/4, 64], conv3x (T/2, H/8, W/8, 128), conv4x (T/4, H/16, W/16, 256),
            conv5x (T/8, H/32, W/32, 512), sizes rounded up; and pool [B, 512], the maximum over all positions.
        """
        layers = {
            "conv": partial(Conv3D, lowering=self.lowering, kernel_init=TORCH_UNIFORM),
            "norm": partial(BatchNorm, self.norm_momentum, 1e-5, self.axis_name, unbiased=True, one_pass=False),
        }
        base = scaled(64, self.width)
        stem = layers["conv"](base, (3, 7, 7), (1, 2, 2), (1, 3, 3), name="conv1_0")
        x = conv_norm_relu(stem, layers["norm"](name="conv1_1"), video, train)
        x = max_pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        taps = {"conv1": x}
        for stage, name in enumerate(STAGES):
            for block in range(2):
                stride = 2 if stage and not block else 1
                x = Block(base * 2**stage, **layers, stride=stride, name=f"{name}_{block}")(x, train)
            taps[name] = x
        return {**taps, "pool": x.max(axis=(1, 2, 3))}
