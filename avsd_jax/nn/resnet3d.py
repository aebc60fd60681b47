"""The 3-D ResNet-50 of Hara et al. (CVPR 2018), its stem and first three stages: STAViS's trunk.

Names follow the keys of the published checkpoints, a dot before a number written as an underscore: `layer1.0.conv1` is
`layer1_0/conv1`.
"""

from functools import partial

from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.conv3d import Conv3D, Lowering
from avsd_jax.nn.norm import BatchNorm, conv_norm_relu
from avsd_jax.nn.pool import max_pool
from avsd_jax.nn.resnet import Bottleneck
from avsd_jax.nn.width import scaled

DEPTHS = (3, 4, 6)

_HE_FAN_OUT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class ResNet3D(nn.Module):
    """The trunk in parts, between which a model may insert layers.

    Attributes:
        width: multiplies every channel count (see `avsd_jax.nn.width.scaled`).
        lowering: see `avsd_jax.nn.conv3d.conv3d`.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
        norm_momentum: share of the running statistics that a step keeps; PyTorch's 0.1 is 0.9 here.
    """

    width: float = 1.0
    lowering: Lowering = "auto"
    axis_name: str | None = None
    norm_momentum: float = 0.9

    def setup(self) -> None:
        """Names the layers as the checkpoints do."""
        norm = partial(BatchNorm, self.norm_momentum, 1e-5, self.axis_name, unbiased=True)
        conv3d = partial(Conv3D, lowering=self.lowering, kernel_init=_HE_FAN_OUT)

        def conv(features: int, size: int, stride: int, name: str) -> Conv3D:
            return conv3d(features, (size,) * 3, (stride,) * 3, (size // 2,) * 3, name=name)

        base = scaled(64, self.width)
        self.conv1 = conv3d(base, (7, 7, 7), (1, 2, 2), (3, 3, 3))
        self.bn1 = norm()
        for stage, depth in enumerate(DEPTHS):
            inner = base * 2**stage
            for block in range(depth):
                stride = 2 if stage and not block else 1
                setattr(self, f"layer{stage + 1}_{block}", Bottleneck(inner, 4 * inner, conv, norm, stride))

    def stem(self, video: Float[Array, "b t h w 3"], train: bool) -> Float[Array, "b t h2 w2 c"]:
        """Maps [B, T, H, W, 3] to [B, T, H/2, W/2, 64], sizes rounded up."""
        return conv_norm_relu(self.conv1, self.bn1, video, train)

    def pool(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t2 h2 w2 c"]:
        """Halves time, height and width, rounded up."""
        return max_pool(x, (3, 3, 3), (2, 2, 2), (1, 1, 1))

    def stage(self, number: int, x: Float[Array, "b t h w i"], train: bool) -> Float[Array, "b t2 h2 w2 c"]:
        """Applies stage 1 (4 x 64 channels, same size), 2 (4 x 128, halved) or 3 (4 x 256, halved)."""
        for block in range(DEPTHS[number - 1]):
            x = getattr(self, f"layer{number}_{block}")(x, train)
        return x

    def __call__(self, video: Float[Array, "b t h w 3"], train: bool = False) -> dict[str, Float[Array, "b _ _ _ _"]]:
        """Returns stem (T, H/2, W/2), layer1 (T/2, H/4, W/4), layer2 (/4, /8, /8) and layer3 (/8, /16, /16)."""
        taps = {"stem": self.stem(video, train)}
        x = self.pool(taps["stem"])
        for number in range(1, len(DEPTHS) + 1):
            taps[f"layer{number}"] = x = self.stage(number, x, train)
        return taps
