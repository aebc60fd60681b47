"""SoundNet audio encoder (Aytar et al., "SoundNet", NeurIPS 2016), the layers that AViNet runs.

The published checkpoints also hold two classification heads (`conv8_objs`, `conv8_scns`) that no saliency
model uses; they are left out.
"""

from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.nn.norm import BatchNorm
from avsd_jax.nn.pool import max_pool
from avsd_jax.nn.s3d import scaled

# Channels, kernel and max-pool window of each block; the stride is 2, the padding half the kernel.
_BLOCKS = (
    (16, 64, 8),
    (32, 32, 8),
    (64, 16, 1),
    (128, 8, 1),
    (256, 4, 4),
    (512, 4, 1),
    (1024, 4, 1),
)

MIN_SAMPLES = 4574

_HE_NORMAL = nn.initializers.he_normal()


class SoundNet(nn.Module):
    """SoundNet's seven convolution blocks; the official encoder at width 1.

    Attributes:
        width: multiplies the channel counts (see `avsd_jax.nn.s3d.scaled`).
        features: output channels; None is the official 1024 times `width`.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    width: float = 1.0
    features: int | None = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, waveform: Float[Array, "b s"], train: bool = False) -> dict[str, Float[Array, "b _ _"]]:
        """Encodes a waveform.

        Args:
            waveform: [B, S], mono, in the scale of the training data (SoundNet and AViNet: [-1, 1] times
                256).
            train: use and update batch statistics.

        Returns:
            conv1 ... conv7: output [B, N, C] of each block, after its pooling; conv7 is the audio feature,
                three steps
            of 1024 channels for AViNet's 70560 samples.

        Raises:
            InputError: the waveform is shorter than `MIN_SAMPLES`.
        """
        if waveform.shape[1] < MIN_SAMPLES:
            raise InputError(
                f"audio has {waveform.shape[1]} samples: pad it to at least {MIN_SAMPLES}, SoundNet's shortest input"
            )
        x = waveform[:, :, None]
        taps = {}
        for block, (channels, kernel, pool) in enumerate(_BLOCKS, start=1):
            last = block == len(_BLOCKS) and self.features is not None
            features = self.features if last else scaled(channels, self.width)
            conv = nn.Conv(features, (kernel,), 2, kernel // 2, kernel_init=_HE_NORMAL, name=f"conv{block}")
            # Flax's momentum: PyTorch's 0.1 is 0.9 here.
            norm = BatchNorm(momentum=0.9, epsilon=1e-5, axis_name=self.axis_name, name=f"batchnorm{block}")
            x = nn.relu(norm(conv(x), use_running_average=not train)).astype(x.dtype)
            x = max_pool(x[:, None, None], (1, 1, pool), (1, 1, pool))[:, 0, 0]
            taps[f"conv{block}"] = x
        return taps
