"""MobileNetV2 (Sandler et al., CVPR 2018) and its inverted residual block.

The names of the layers are the positions of the published checkpoints: `features_7/conv_3` is the fourth layer of the
eighth block.
"""

from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.conv2d import Conv2D
from avsd_jax.nn.depthwise import DepthwiseConv2D
from avsd_jax.nn.domain_norm import Norms
from avsd_jax.nn.norm import conv_norm, conv_norm_relu6
from avsd_jax.nn.width import scaled

INIT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")

# Expansion, channels, number of blocks, stride of the first.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# Blocks whose output is a tap before it is subsampled.
_TAPS = {7: "4x", 14: "2x"}


class InvertedResidual(nn.Module):
    """1 x 1 convolution to more channels, depthwise 3 x 3, 1 x 1 to fewer; the input is added if it has their shape.

    Attributes:
        features: output channels.
        norms: its batch norms.
        expand: factor on the channels of the input; with 1 there is no first convolution.
        stride: of the depthwise convolution.
    """

    features: int
    norms: Norms
    expand: int = 6
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "n h w i"], train: bool = False) -> Float[Array, "n h2 w2 o"]:
        """Applies the block."""
        wide, y, layer = x.shape[-1] * self.expand, x, 0
        if self.expand > 1:
            conv = Conv2D(wide, kernel_init=INIT, name="conv_0")
            y, layer = conv_norm_relu6(conv, self.norms.create("conv_1"), y, train), 3
        conv = DepthwiseConv2D(self.stride, name=f"conv_{layer}")
        y = conv_norm_relu6(conv, self.norms.create(f"conv_{layer + 1}"), y, train)
        conv = Conv2D(self.features, kernel_init=INIT, name=f"conv_{layer + 3}")
        y = conv_norm(conv, self.norms.create(f"conv_{layer + 4}"), y, train)
        return x + y if x.shape == y.shape else y


class ConvNormRelu6(nn.Module):
    """Convolution, batch norm, ReLU6.

    Attributes:
        features: output channels.
        norms: its batch norm.
        size, stride: of the convolution.
    """

    features: int
    norms: Norms
    size: int = 1
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "n h w i"], train: bool = False) -> Float[Array, "n h2 w2 o"]:
        """Applies the layers."""
        conv = Conv2D(self.features, self.size, self.stride, kernel_init=INIT, name="conv_0")
        return conv_norm_relu6(conv, self.norms.create("conv_1"), x, train)


class MobileNetV2(nn.Module):
    """MobileNetV2 down to its last convolution, without the classifier.

    Attributes:
        norms: its batch norms.
        width: multiplies every channel count.
    """

    norms: Norms = Norms()
    width: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "n h w 3"], train: bool = False) -> dict[str, Float[Array, "n _ _ _"]]:
        """Returns features at three sizes.

        Args:
            x: frames, height and width multiples of 32.
            train: whether its norms use and update batch statistics.

        Returns:
            4x [N, H/8, W/8, 64], 2x [N, H/16, W/16, 160] and 1x [N, H/32, W/32, 1280] at width 1.
        """
        taps, index = {}, 1
        x = ConvNormRelu6(scaled(32, self.width), self.norms, 3, 2, name="features_0")(x, train)
        for expand, features, count, stride in _STAGES:
            for number in range(count):
                step = stride if number == 0 else 1
                # A tap is taken between the block and its subsampling, so that block is computed at the larger size.
                inside = 1 if index in _TAPS else step
                wide = scaled(features, self.width)
                x = InvertedResidual(wide, self.norms, expand, inside, name=f"features_{index}")(x, train)
                if index in _TAPS:
                    taps[_TAPS[index]] = x
                    x = x[:, ::step, ::step]
                index += 1
        last = ConvNormRelu6(scaled(1280, self.width), self.norms, name=f"features_{index}")
        return taps | {"1x": last(x, train)}
