"""What fusions need of the audio: its energy and its onsets per video frame, and features for their correlation.

All are jittable: shapes follow from the number of samples, the rate and the number of bins.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.normalise import as_float
from avsd_jax.handcrafted.sound.frames import average, layout, windows

NUM_BANDS = 40
NUM_COEFFICIENTS = 13

# Power of a band, relative to a sine of full scale, below which all is silence: 60 dB below it.
_SILENCE = 1e-6


def rms(
    waveform: Num[Array | np.ndarray, "*b s"], rate: float | int, edges: Num[Array | np.ndarray, " e"]
) -> Float[Array, "*b n"]:
    """Computes the root mean square of the samples in each bin; 0 in silence and beyond the ends.

    Args:
        waveform: [..., S]; samples that are not finite count as silence.
        rate: samples per second.
        edges: of the N = E - 1 bins, in seconds, increasing: by `avsd_jax.handcrafted.sound.frames.equal_bins` or
            `frame_edges`.
    """
    (waveform,) = as_float(waveform)
    return jnp.sqrt(average(jnp.where(jnp.isfinite(waveform), waveform, 0) ** 2, rate, edges))


def onset_strength(
    waveform: Num[Array | np.ndarray, "*b s"], rate: int, edges: Num[Array | np.ndarray, " e"]
) -> Float[Array, "*b n"]:
    """Computes how much louder the bands became, averaged within bins: the spectral flux of the log mel spectrogram.

    It is in nats per step of 10 ms; 0 in silence.

    Args:
        waveform: [..., S].
        rate: samples per second.
        edges: see `rms`.
    """
    return average(spectral_flux(log_mel(waveform, rate)), _steps_per_second(rate), edges)


def spectral_flux(bands: Num[Array | np.ndarray, "*b n k"]) -> Float[Array, "*b n"]:
    """Computes the mean over the bands of max(0, L(t) - L(t - 1)); 0 for the first t."""
    (bands,) = as_float(bands)
    rise = jnp.mean(jnp.maximum(bands[..., 1:, :] - bands[..., :-1, :], 0), -1)
    return jnp.concatenate([jnp.zeros_like(bands[..., :1, 0]), rise], -1)


def log_mel(waveform: Num[Array | np.ndarray, "*b s"], rate: int, bands: int = NUM_BANDS) -> Float[Array, "*b n k"]:
    """Computes a log mel spectrogram: ln(power + 1e-6) of K bands in frames of 25 ms every 10 ms.

    The power is relative to a sine of full scale. Frame j is centred on (j + 1/2) hops; beyond the ends is silence.

    Raises:
        InputError: no bands.
    """
    if bands < 1:
        raise InputError(f"{bands} mel bands: give at least one")
    (waveform,) = as_float(waveform)
    frames = layout(waveform.shape[-1], rate)
    window = np.hanning(frames.length + 2)[1:-1]
    size = 1 << max(1, (frames.length - 1).bit_length())
    spectrum = jnp.fft.rfft(windows(waveform, frames) * window.astype(waveform.dtype), size)
    power = (jnp.real(spectrum) ** 2 + jnp.imag(spectrum) ** 2) * (2 / window.sum()) ** 2
    filters = _mel_filters(rate, size, bands).astype(waveform.dtype)
    return jnp.log(jnp.matmul(power, filters, precision=jax.lax.Precision.HIGHEST) + _SILENCE)


@functools.cache
def _mel_filters(rate: int, size: int, bands: int) -> Float[np.ndarray, "f k"]:
    """Returns triangles of height 1 on the mel scale (HTK's) from 0 Hz to half the rate."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 1400), bands + 2) / 2595) - 1)
    hertz = np.arange(size // 2 + 1)[:, None] * rate / size
    rising = (hertz - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - hertz) / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(rising, falling))


def mfcc(
    waveform: Num[Array | np.ndarray, "*b s"], rate: int, coefficients: int = NUM_COEFFICIENTS
) -> Float[Array, "*b n c"]:
    """Computes mel-frequency cepstral coefficients: the orthonormal DCT of `log_mel`, loudness included.

    Raises:
        InputError: not between 1 and 40 coefficients.
    """
    if not 1 <= coefficients <= NUM_BANDS:
        raise InputError(f"{coefficients} cepstral coefficients: give 1 to {NUM_BANDS}")
    return jax.scipy.fft.dct(log_mel(waveform, rate), norm="ortho")[..., :coefficients]


def deltas(x: Num[Array | np.ndarray, "*b n c"], reach: int = 2) -> Float[Array, "*b n c"]:
    """Computes the slope of each feature by regression over `reach` frames to both sides; ends are repeated.

    Raises:
        InputError: a reach below 1.
    """
    if reach < 1:
        raise InputError(f"reach={reach}: give at least one frame")
    (x,) = as_float(x)
    count = x.shape[-2]
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(reach, reach), (0, 0)], "edge")
    steps = range(1, reach + 1)
    ahead = (
        k * (padded[..., reach + k : reach + k + count, :] - padded[..., reach - k : reach - k + count, :])
        for k in steps
    )
    return sum(ahead) / (2 * sum(k * k for k in steps))


def cepstral_features(
    waveform: Num[Array | np.ndarray, "*b s"],
    rate: int,
    edges: Num[Array | np.ndarray, " e"],
    coefficients: int = NUM_COEFFICIENTS,
) -> Float[Array, "*b n c"]:
    """Computes the audio's side of a CCA: MFCCs and their deltas, averaged within bins; 2 `coefficients` features.

    Args:
        waveform, rate, edges: see `rms`.
        coefficients: of the MFCCs.

    Raises:
        InputError: see `mfcc`.
    """
    found = mfcc(waveform, rate, coefficients)
    found = jnp.concatenate([found, deltas(found)], -1)
    return jnp.moveaxis(average(jnp.moveaxis(found, -1, -2), _steps_per_second(rate), edges), -2, -1)


def _steps_per_second(rate: int) -> float:
    return rate / layout(0, rate).hop
