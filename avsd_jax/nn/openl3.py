"""OpenL3's audio encoder (Cramer et al., ICASSP 2019) and its three front ends.

Its weights (CC BY 4.0) are the only permissively licensed ones of an L3-Net. Names follow the keys of torchopenl3.
"""

import functools
from functools import partial

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Float32

from avsd_jax.common.extras import need
from avsd_jax.nn.norm import BatchNorm
from avsd_jax.nn.pool import max_pool
from avsd_jax.nn.spectrogram import stft
from avsd_jax.nn.width import scaled

# Mel bands of each front end; None: the linear frequency axis.
FRONT_ENDS: dict[str, int | None] = {"openl3_linear": None, "openl3_mel128": 128, "openl3_mel256": 256}

HOP = 242
_WINDOW, _MEL_WINDOW = 512, 2048
_FLOOR = 1e-10
_RANGE = 80.0  # decibels below the maximum at which a spectrogram is cut off


class OpenL3Audio(nn.Module):
    """Eight 3x3 convolutions, of which the last has no norm and no ReLU, and a global maximum.

    Attributes:
        width: multiplies the channel counts (see `avsd_jax.nn.width.scaled`).
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    width: float = 1.0
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b f n 1"], train: bool = False) -> dict[str, Float[Array, "b ..."]]:
        """Encodes spectrograms of any size.

        Args:
            x: [B, F, N, 1], from `spectrogram`.
            train: use and update batch statistics.

        Returns:
            block1 [B, F/2, N/2, 64], block2 (/4, 128), block3 (/8, 256), block4 (/8, 512), and embedding [B, 512].
        """
        norm = partial(BatchNorm, momentum=0.99, epsilon=1e-3, axis_name=self.axis_name)
        x = norm(name="batch_normalization_1")(x, use_running_average=not train)
        taps = {}
        for layer in range(1, 9):
            block = (layer + 1) // 2
            name = f"conv2d_{layer}" if layer < 8 else "audio_embedding_layer"
            features = scaled(32 * 2**block, self.width)
            x = nn.Conv(features, (3, 3), kernel_init=nn.initializers.he_normal(), name=name)(x)
            if layer < 8:
                x = nn.relu(norm(name=f"batch_normalization_{layer + 1}")(x, use_running_average=not train))
            if layer % 2 == 0:
                x = max_pool(x[:, None], (1, 2, 2), (1, 2, 2))[:, 0] if block < 4 else x
                taps[f"block{block}"] = x
        return {**taps, "embedding": x.max(axis=(1, 2))}


def spectrogram(waveform: Float[Array, "b s"], sample_rate: int, front_end: str) -> Float32[Array, "b f n"]:
    """Returns a spectrogram of amplitudes in dB below the clip's maximum, frequency first.

    A second at 48 kHz gives 257 x 197 ("openl3_linear"), 128 x 199 or 256 x 199 (mel).

    Args:
        waveform: [B, S] in [-1, 1].
        sample_rate: of the waveform, Hz.
        front_end: one of `FRONT_ENDS`.

    Raises:
        InputError: the waveform is shorter than a window.
    """
    bands = FRONT_ENDS[front_end]
    waveform = waveform.astype(jnp.float32)
    if bands is None:
        amplitude = jnp.abs(stft(waveform, _WINDOW, HOP, center=False))
    else:
        amplitude = jnp.abs(stft(waveform, _MEL_WINDOW, HOP))
        amplitude = jnp.einsum("mf,bfn->bmn", _mel_filters(sample_rate, bands), amplitude, precision="highest")
    decibels = 10 * jnp.log10(jnp.maximum(amplitude, _FLOOR))
    return jnp.maximum(decibels - jnp.max(decibels, axis=(1, 2), keepdims=True), -_RANGE)


@functools.cache
def _mel_filters(sample_rate: int, bands: int) -> Float32[np.ndarray, "m f"]:
    """Returns the weights of the frequency bins in each mel band (Slaney's scale and norm).

    Raises:
        InputError: librosa is not installed.
    """
    # Takes a second, and only these two front ends need it.
    return need("librosa.filters", "train").mel(sr=sample_rate, n_fft=_MEL_WINDOW, n_mels=bands)
