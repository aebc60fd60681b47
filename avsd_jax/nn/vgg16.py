"""VGG16's convolutions (Simonyan and Zisserman, ICLR 2015), the trunk of several saliency networks."""

from collections.abc import Sequence

from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.nn.width import scaled

_CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

# The means that its published weights expect to be subtracted, of RGB in [0, 255].
MEAN_RGB = (123.68, 116.779, 103.939)


class VGG16(nn.Module):
    """Thirteen 3x3 convolutions with bias in five blocks, a 2x2 maximum between two blocks; no dense layers.

    Attributes:
        width: multiplies every channel count.
        pool_strides: strides of the maxima after blocks 1 to 4; where the stride is 1 the size is kept.
        ceil: whether a maximum rounds sizes up, as Caffe's does, instead of down.
        last_relu: whether the last convolution has a ReLU; without it, a network may normalise first.
    """

    width: float = 1.0
    pool_strides: Sequence[int] = (2, 2, 2, 2)
    ceil: bool = False
    last_relu: bool = True

    @nn.compact
    def __call__(self, images: Float[Array, "b h w 3"]) -> dict[str, Float[Array, "b _ _ _"]]:
        """Returns the last feature of each block: conv1 to conv5 [B, h, w, C], after ReLU but for `last_relu`.

        Args:
            images: RGB or BGR, as the weights were trained, with their means subtracted.

        Raises:
            InputError: the images are smaller than the strides together.
        """
        smallest = 2 ** sum(stride > 1 for stride in self.pool_strides)
        if min(images.shape[1:3]) < smallest:
            raise InputError(f"images of {images.shape[1]}x{images.shape[2]} are too small: give {smallest} or more")
        taps, x = {}, images
        for block, channels in enumerate(_CHANNELS, 1):
            if block > 1:
                x = self._pooled(x, self.pool_strides[block - 2])
            for number, features in enumerate(channels, 1):
                x = nn.Conv(scaled(features, self.width), (3, 3), name=f"conv{block}_{number}")(x)
                if self.last_relu or (block, number) != (len(_CHANNELS), len(channels)):
                    x = nn.relu(x)
            taps[f"conv{block}"] = x
        return taps

    def _pooled(self, x: Float[Array, "b h w c"], stride: int) -> Float[Array, "b h2 w2 c"]:
        if stride == 1:  # Keras's "same": one more row and column at the end
            return nn.max_pool(x, (2, 2), (1, 1), "SAME")
        return nn.max_pool(x, (2, 2), (stride, stride), "SAME" if self.ceil else "VALID")
