"""DenseNet (Huang et al., CVPR 2017), with the last pools left out and blocks dilated for finer features.

Names follow torchvision's keys, a dot before a number written as an underscore: `denseblock1.denselayer1.conv1` is
`denseblock1/denselayer1/conv1`.
"""

from collections.abc import Sequence
from functools import partial

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.nn.conv2d import Conv2D
from avsd_jax.nn.norm import BatchNorm, conv_norm_relu
from avsd_jax.nn.pool import max_pool
from avsd_jax.nn.resnet import Layer
from avsd_jax.nn.width import scaled

DEPTHS_169 = (6, 12, 32, 32)
_GROWTH, _BOTTLENECK = 32, 4


class DilatedConv(nn.Module):
    """A 3x3 convolution of distant neighbours that keeps the size.

    Attributes:
        features: output channels.
        dilation: distance between the inputs of an output.
        use_bias: add a learned bias.
    """

    features: int
    dilation: int = 1
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        """Maps [B, h, w, I] to [B, h, w, features]; computes in the dtype of its input."""
        kernel = self.param("kernel", nn.initializers.he_normal(), (3, 3, x.shape[-1], self.features))
        rate, pad = (self.dilation,) * 2, ((self.dilation,) * 2,) * 2
        y = jax.lax.conv_general_dilated(
            x, kernel.astype(x.dtype), (1, 1), pad, rhs_dilation=rate, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)
        return y


class DenseLayer(nn.Module):
    """Norm, ReLU and 1x1 convolution, twice, the second one 3x3.

    Attributes:
        growth: output channels.
        norm: factory of the norms.
        dilation: of the 3x3 convolution.
    """

    growth: int
    norm: Layer
    dilation: int = 1
    recomputed = True  # see avsd_jax/training/remat.py

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"], train: bool) -> Float[Array, "b h w o"]:
        """Returns the new channels."""
        y = nn.relu(self.norm(name="norm1")(x, use_running_average=not train))
        y = conv_norm_relu(Conv2D(_BOTTLENECK * self.growth, name="conv1"), self.norm(name="norm2"), y, train)
        return DilatedConv(self.growth, self.dilation, name="conv2")(y)


class DenseBlock(nn.Module):
    """Layers, each of which reads the outputs of all earlier ones.

    Attributes:
        depth: number of layers.
        growth, norm, dilation: see `DenseLayer`.
    """

    depth: int
    growth: int
    norm: Layer
    dilation: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"], train: bool) -> Float[Array, "b h w o"]:
        """Appends `depth * growth` channels."""
        for number in range(1, self.depth + 1):
            layer = DenseLayer(self.growth, self.norm, self.dilation, name=f"denselayer{number}")
            x = jax.numpy.concatenate([x, layer(x, train)], axis=-1)
        return x


class Transition(nn.Module):
    """Norm, ReLU, a 1x1 convolution to half the channels, and a pool.

    Attributes:
        norm: factory of the norm.
        pool: whether to halve the size.
    """

    norm: Layer
    pool: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"], train: bool) -> Float[Array, "b h2 w2 o"]:
        """Maps [B, h, w, I] to [B, h/2, w/2, I/2], or without a pool to [B, h, w, I/2]."""
        y = nn.relu(self.norm(name="norm")(x, use_running_average=not train))
        y = Conv2D(x.shape[-1] // 2, name="conv")(y)
        return nn.avg_pool(y, (2, 2), (2, 2)) if self.pool else y


class DenseNet(nn.Module):
    """DenseNet without its classification layer; DenseNet-169 by default.

    Attributes:
        depths: layers of each block.
        width: multiplies the growth of 32 channels a layer and the 64 of the stem.
        pools: for each block but the last, whether the transition after it halves the size.
        dilations: of the 3x3 convolutions of each block.
        frozen_norm: normalise by the running statistics in training, too, and leave them as they are.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
        norm_momentum: share of the running statistics that a step keeps; PyTorch's 0.1 is 0.9 here.
    """

    depths: Sequence[int] = DEPTHS_169
    width: float = 1.0
    pools: Sequence[bool] = (True, True, True)
    dilations: Sequence[int] = (1, 1, 1, 1)
    frozen_norm: bool = False
    axis_name: str | None = None
    norm_momentum: float = 0.9

    @nn.compact
    def __call__(self, images: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b h2 w2 c"]:
        """Encodes images.

        Args:
            images: [B, H, W, 3], ImageNet-normalised RGB.
            train: use and update batch statistics, unless they are frozen.

        Returns:
            The last block's output after `norm5`, without a ReLU; of DenseNet-169 [B, H/32, W/32, 1664], and for each
            pool left out twice as high and wide.

        Raises:
            InputError: the lists do not fit the number of blocks, or the images are too small.
        """
        blocks = len(self.depths)
        if len(self.pools) != blocks - 1 or len(self.dilations) != blocks:
            raise InputError(f"{blocks} depths need {blocks - 1} pools and {blocks} dilations: give as many")
        if min(images.shape[1:3]) < 4 * 2 ** sum(self.pools):
            raise InputError(
                f"images of {images.shape[1]}x{images.shape[2]} are too small: give {4 * 2 ** sum(self.pools)} or more"
            )
        norm = partial(BatchNorm, self.norm_momentum, 1e-5, self.axis_name, unbiased=True)
        train = train and not self.frozen_norm
        growth = scaled(_GROWTH, self.width)
        x = conv_norm_relu(Conv2D(2 * growth, 7, 2, name="conv0"), norm(name="norm0"), images, train)
        x = max_pool(x[:, None], (1, 3, 3), (1, 2, 2), (0, 1, 1))[:, 0]
        for number, (depth, dilation) in enumerate(zip(self.depths, self.dilations, strict=True), 1):
            x = DenseBlock(depth, growth, norm, dilation, name=f"denseblock{number}")(x, train)
            if number < blocks:
                x = Transition(norm, self.pools[number - 1], name=f"transition{number}")(x, train)
        return norm(name="norm5")(x, use_running_average=not train)
