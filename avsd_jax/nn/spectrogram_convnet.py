"""AVID's audio encoder ("Conv2D-10"): plain 3x3 convolutions on a spectrogram, and a global maximum.

Names follow the keys of the published checkpoints, a dot before a number written as an underscore.
"""

from functools import partial

from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.conv2d import Conv2D
from avsd_jax.nn.norm import BatchNorm, conv_norm_relu
from avsd_jax.nn.r2plus1d import TORCH_UNIFORM, Layer
from avsd_jax.nn.width import scaled

# Channels, and stride of the first convolution, of each block.
_BLOCKS = ((64, 2), (128, 2), (256, 2), (512, 1))


class SpectrogramConvNet(nn.Module):
    """A 7x7 convolution and four blocks of two 3x3 convolutions, each with BatchNorm and ReLU.

    Attributes:
        width, axis_name, norm_momentum: see `avsd_jax.nn.r2plus1d.R2Plus1D`.
    """

    width: float = 1.0
    axis_name: str | None = None
    norm_momentum: float = 0.9

    @nn.compact
    def __call__(self, spectrogram: Float[Array, "b t f"], train: bool = False) -> dict[str, Float[Array, "b ..."]]:
        """Encodes spectrograms of any size.

        Args:
            spectrogram: [B, T, F], time first.
            train: use and update batch statistics.

        Returns:
            conv2x [B, T/4, F/4, 64], conv3x (T/8, F/8, 128), conv4x (T/16, F/16, 256), conv5x (T/16, F/16, 512), sizes
            rounded up; and pool [B, 512], the maximum over all positions.
        """
        norm = partial(BatchNorm, self.norm_momentum, 1e-5, self.axis_name, unbiased=True, one_pass=False)
        conv = partial(Conv2D, kernel_init=TORCH_UNIFORM)
        stem = conv(scaled(64, self.width), 7, 2, name="conv1_0")
        x = conv_norm_relu(stem, norm(name="conv1_1"), spectrogram[..., None], train)
        taps = {}
        for number, (channels, stride) in enumerate(_BLOCKS, start=1):
            block = Block(scaled(channels, self.width), stride, conv, norm, name=f"block{number}")
            taps[f"conv{number + 1}x"] = x = block(x, train)
        return {**taps, "pool": x.max(axis=(1, 2))}


class Block(nn.Module):
    """Two 3x3 convolutions.

    Attributes:
        features: output channels.
        stride: of the first convolution.
        conv, norm: `Conv2D` and `BatchNorm` with the options that all layers share.
    """

    features: int
    stride: int
    conv: Layer
    norm: Layer
    recomputed = True  # see avsd_jax/training/remat.py

    @nn.compact
    def __call__(self, x: Float[Array, "b t f i"], train: bool) -> Float[Array, "b t2 f2 c"]:
        """Maps [B, T, F, I] to [B, T/s, F/s, features], sizes rounded up."""
        x = conv_norm_relu(self.conv(self.features, 3, self.stride, name="conv1"), self.norm(name="bn1"), x, train)
        return conv_norm_relu(self.conv(self.features, 3, 1, name="conv2"), self.norm(name="bn2"), x, train)
