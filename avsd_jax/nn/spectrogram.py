"""Spectrograms in jnp: the two conventions that classifiers' front ends follow, librosa's and SciPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal
from jaxtyping import Array, Complex, Float

from avsd_jax.errors import InputError


def segments(waveform: Float[Array, "b s"], length: int, hop: int) -> Float[Array, "b n length"]:
    """Returns overlapping windows of a waveform, one every `hop` samples; the remainder at the end is dropped.

    Raises:
        InputError: the waveform is shorter than one window.
    """
    samples = waveform.shape[1]
    if samples < length:
        raise InputError(f"audio has {samples} samples: give at least {length}, a window of the spectrogram")
    starts = np.arange(0, samples - length + 1, hop)
    return waveform[:, starts[:, None] + np.arange(length)]


def stft(
    waveform: Float[Array, "b s"], n_fft: int, hop: int, *, center: bool = True, padding: str = "constant"
) -> Complex[Array, "b f n"]:
    """Computes a short-time Fourier transform with a periodic Hann window, as `librosa.stft` does.

    Args:
        waveform: [B, S].
        n_fft: window length and transform size; F = n_fft // 2 + 1.
        hop: samples from one column to the next.
        center: pad both ends with n_fft // 2 samples, so that column n is centred on sample n * hop.
        padding: what they are padded with: "constant", zeros (librosa from 0.10 on), or "reflect", the waveform
            mirrored (librosa before).

    Raises:
        InputError: the waveform is shorter than one window, or than the part that is mirrored.
    """
    pad = n_fft // 2 if center else 0
    window = scipy.signal.get_window("hann", n_fft).astype(np.float32)
    if padding == "reflect" and waveform.shape[1] <= pad:
        raise InputError(f"audio has {waveform.shape[1]} samples: give at least {pad + 1}, half a window and one")
    pieces = segments(jnp.pad(waveform, ((0, 0), (pad, pad)), padding), n_fft, hop)
    return jnp.fft.rfft(pieces * window).swapaxes(1, 2)


def power_density(
    waveform: Float[Array, "b s"], sample_rate: int, window_length: int, overlap: int, n_fft: int
) -> Float[Array, "b f n"]:
    """Computes the power spectral density over time, as `scipy.signal.spectrogram` does with its defaults.

    Tukey window (0.25), the mean of each window removed, zeros added up to `n_fft`, one-sided, in units^2 /
    Hz.

    Args:
        waveform: [B, S].
        sample_rate: in Hz.
        window_length, overlap: in samples (SciPy's nperseg and noverlap).
        n_fft: transform size; F = n_fft // 2 + 1.

    Raises:
        InputError: the waveform is shorter than one window.
    """
    window = scipy.signal.get_window(("tukey", 0.25), window_length)
    pieces = segments(waveform, window_length, window_length - overlap)
    pieces = (pieces - jnp.mean(pieces, axis=-1, keepdims=True)) * window.astype(np.float32)
    power = _squared_magnitude(jnp.fft.rfft(pieces, n_fft)) / (sample_rate * np.sum(window**2))
    # The one-sided spectrum holds the power of both halves, except at zero and the Nyquist frequency.
    twice = np.full(power.shape[-1], 2.0, np.float32)
    twice[0] = 1.0
    if n_fft % 2 == 0:
        twice[-1] = 1.0
    return (power * twice).swapaxes(1, 2)


def normalised_log_power(
    waveform: Float[Array, "b s"], sample_rate: int = 16000, window_length: int = 512, overlap: int = 353
) -> Float[Array, "b f n"]:
    """Computes VGGSound's and STANet's front end: log of `power_density`, with mean 0 and standard deviation 1.

    Args:
        waveform: [B, S]; clipped to [-1, 1]. Half a second at 16 kHz gives 257 x 48.
        sample_rate: in Hz.
        window_length, overlap: in samples.

    Raises:
        InputError: the waveform is shorter than one window.
    """
    clipped = jnp.clip(waveform.astype(jnp.float32), -1, 1)
    power = jnp.log(power_density(clipped, sample_rate, window_length, overlap, window_length) + 1e-7)
    deviation = power - jnp.mean(power, axis=(1, 2), keepdims=True)
    std = jnp.sqrt(jnp.mean(jnp.square(deviation), axis=(1, 2), keepdims=True))
    return (deviation / (std + 1e-9)).astype(waveform.dtype)


def _squared_magnitude(x: jax.Array) -> jax.Array:
    return jnp.real(x) ** 2 + jnp.imag(x) ** 2
