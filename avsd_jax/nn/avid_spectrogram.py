"""AVID's audio front end: a log-power spectrogram on a linear frequency axis, normalised bin by bin."""

import functools
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from avsd_jax.nn.spectrogram import stft

_FLOOR = 1e-10  # smallest power, -100 dB
_RANGE = 100.0  # decibels below a clip's maximum at which it is cut off
_EPSILON = 1e-5  # added to the standard deviations
_TOP = 12000.0  # Hz, frequency of the last bin of the stored statistics


def num_bins(n_fft: int) -> int:
    """Returns the number of frequency bins of a spectrogram: the constant one, and half of the others."""
    return n_fft // 4 + 1


def log_power(waveform: Float[Array, "b s"], n_fft: int, hop: int, padding: str) -> Float32[Array, "b t f"]:
    """Returns the log-power spectrogram in dB, time first; F = n_fft / 4 + 1, T = S // hop.

    Bins 1, 2 are averaged, and 3, 4, and so on; bin 0 stands alone. Values below -100 dB, and
    more than 100 dB below the clip's maximum, are raised to these limits.

    Args:
        waveform: [B, S] in [-1, 1].
        n_fft: window and transform size, a multiple of 4.
        hop: samples from one window to the next.
        padding: of the ends, "reflect" or "constant"; see `avsd_jax.nn.spectrogram.stft`.

    Raises:
        InputError: the waveform is too short.
    """
    spectrum = stft(waveform.astype(jnp.float32), n_fft, hop, padding=padding)[..., : waveform.shape[1] // hop]
    power = jnp.square(jnp.real(spectrum)) + jnp.square(jnp.imag(spectrum))
    pairs = (power[:, 1::2] + power[:, 2::2]) / 2
    power = jnp.concatenate([power[:, :1], pairs], axis=1).swapaxes(1, 2)
    decibels = 10 * jnp.log10(jnp.maximum(power, _FLOOR))
    return jnp.maximum(decibels, jnp.max(decibels, axis=(1, 2), keepdims=True) - _RANGE)


def normalise(decibels: Float[Array, "b t f"], sample_rate: int) -> Float[Array, "b t f"]:
    """Subtracts each bin's mean over AVID's training data and divides by its standard deviation.

    Args:
        decibels: from `log_power`.
        sample_rate: of the waveform, Hz. At other rates than 24 kHz, and other numbers of bins than 257, the statistics
            are interpolated over frequency.
    """
    stored = _statistics()
    frequencies = np.linspace(0, sample_rate / 2, decibels.shape[-1])
    mean, std = (np.interp(frequencies, np.linspace(0, _TOP, len(stored)), column) for column in stored.T)
    return (decibels - mean.astype(np.float32)) / (std + _EPSILON).astype(np.float32)


@functools.cache
def _statistics() -> Float32[np.ndarray, "257 2"]:
    """Loads the mean and standard deviation, in dB, of each bin."""
    return np.loadtxt(Path(__file__).with_name("avid_statistics.csv"), delimiter=",", dtype=np.float32)
