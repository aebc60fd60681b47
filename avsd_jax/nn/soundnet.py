"""SoundNet audio encoder (Aytar et al., "SoundNet", NeurIPS 2016), the layers that AViNet uses.

The published checkpoints also hold two classification heads (`conv8_objs`, `conv8_scns`) that no saliency
model uses; they are omitted.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.nn.norm import BatchNorm
from avsd_jax.nn.pool import max_pool
from avsd_jax.nn.width import scaled

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

# Up to so many steps, a block is a matmul on a CPU: XLA convolves few steps of many channels ten times as slowly.
_FEW = 64


def min_samples(steps: int = 1) -> int:
    """Returns the length in samples of the shortest waveform that gives this many steps after the last block."""
    for _, _, pool in reversed(_BLOCKS):
        steps = max(1, 2 * (steps * pool - 1))
    return steps


MIN_SAMPLES = min_samples()

_HE_NORMAL = nn.initializers.he_normal()


def _convolve(
    x: Float[Array, "b s i"],
    kernel: Float[Array, "k i o"],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    **options: Any,
) -> Float[Array, "b n o"]:
    """Does what `lax.conv_general_dilated` does for `nn.Conv`."""
    (stride,), ((before, after),), size = strides, padding, kernel.shape[0]
    steps = (x.shape[1] + before + after - size) // stride + 1
    if jax.default_backend() != "cpu" or steps > _FEW:
        return lax.conv_general_dilated(x, kernel, strides, padding, **options)
    x = jnp.pad(x, ((0, 0), (before, after), (0, 0)))
    seen = [x[:, tap : tap + (steps - 1) * stride + 1 : stride] for tap in range(size)]
    return jnp.concatenate(seen, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


class SoundNet(nn.Module):
    """SoundNet's seven convolution blocks; the official encoder at width 1.

    Attributes:
        width: multiplies the channel counts (see `avsd_jax.nn.width.scaled`).
        features: output channels; None is the official 1024 times `width`.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
        last_pool: window of a max-pool after the last block, which SoundNet does not have and STAViS adds.
        unbiased: see `avsd_jax.nn.norm.BatchNorm`.
    """

    width: float = 1.0
    features: int | None = None
    axis_name: str | None = None
    last_pool: int = 1
    unbiased: bool = False

    @nn.compact
    def __call__(self, waveform: Float[Array, "b s"], train: bool = False) -> dict[str, Float[Array, "b _ _"]]:
        """Encodes a waveform.

        Args:
            waveform: [B, S], mono, in the scale of the training data (SoundNet and AViNet: [-1, 1] times
                256).
            train: use and update batch statistics.

        Returns:
            conv1 ... conv7: output [B, N, C] of each block, after its pooling; conv7 is the audio feature, three steps
            of 1024 channels for AViNet's 70560 samples, one for STAViS's 35280 with its pool of 2.

        Raises:
            InputError: the waveform is shorter than `min_samples(last_pool)`.
        """
        shortest = min_samples(self.last_pool)
        if waveform.shape[1] < shortest:
            raise InputError(
                f"audio has {waveform.shape[1]} samples: pad it to at least {shortest}, SoundNet's shortest input"
            )
        x = waveform[:, :, None]
        taps = {}
        for block, (channels, kernel, pool) in enumerate(_BLOCKS, start=1):
            last = block == len(_BLOCKS) and self.features is not None
            features = self.features if last else scaled(channels, self.width)
            conv = nn.Conv(
                features,
                (kernel,),
                2,
                kernel // 2,
                kernel_init=_HE_NORMAL,
                conv_general_dilated=_convolve,
                name=f"conv{block}",
            )
            # Flax's momentum: PyTorch's 0.1 is 0.9 here.
            norm = BatchNorm(0.9, 1e-5, self.axis_name, self.unbiased, name=f"batchnorm{block}")
            x = nn.relu(norm(conv(x), use_running_average=not train)).astype(x.dtype)
            pool = self.last_pool if block == len(_BLOCKS) else pool
            x = max_pool(x[:, None, None], (1, 1, pool), (1, 1, pool))[:, 0, 0]
            taps[f"conv{block}"] = x
        return taps
