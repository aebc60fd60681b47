"""Auditory saliency using natural statistics: rare features of a gammatone spectrogram (survey, IV.A, [124]).

Written from memory of the paper and the survey's description, with our own constants: unverified. The paper's ICA after
the PCA changes nothing under a Gaussian, whose likelihood does not depend on a rotation, and is left out.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal
from jaxtyping import Array, Float, Num

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.normalise import as_float, centred

RATE = 16_000
NUM_BANDS, LOWEST_HZ, HIGHEST_HZ = 32, 60.0, 7000.0
PATCH_COLUMNS = 4
NUM_COMPONENTS = 16

# Added to the power of a band, relative to a sine of full scale: 80 dB below it.
_SILENCE = 1e-8
_BLOCK = 1 << 20  # samples that are filtered at once
# Added to variances, relative to the mean one of the whole: directions that never vary, or did not recently, are not
# infinitely surprising.
_RIDGE, _LOCAL_RIDGE = 1e-3, 1e-1


@functools.cache
def _filters(rate: int, count: int) -> tuple[tuple[Float[np.ndarray, " m"], Float[np.ndarray, " k"]], ...]:
    """Returns SciPy's gammatone filters, whose centres are evenly spaced on the ERB scale (Glasberg and Moore)."""
    low, high = (21.4 * np.log10(1 + 0.00437 * f) for f in (LOWEST_HZ, min(HIGHEST_HZ, 0.45 * rate)))
    centres = (10 ** (np.linspace(low, high, count) / 21.4) - 1) / 0.00437
    return tuple(scipy.signal.gammatone(centre, "iir", fs=rate) for centre in centres)


def gammatone_spectrogram(
    waveform: Float[np.ndarray, " s"], rate: int = RATE, count: int = NUM_BANDS, hop: int = RATE // 100
) -> Float[np.ndarray, "f n"]:
    """Computes the log power of gammatone bands, averaged over every `hop` samples; on the host, in float64.

    Args:
        waveform: S samples; the last hop may be incomplete.
        rate: samples per second; at least 400.
        count: F bands between 60 Hz and 7 kHz, or 0.45 of the rate if that is less.
        hop: samples from one column to the next.

    Raises:
        InputError: no samples, bands or hop, or a rate below 400.
    """
    if not len(waveform) or count < 1 or hop < 1 or rate < 400:
        raise InputError(
            f"{len(waveform)} samples at {rate} per second for {count} bands every {hop}: give at least one sample, "
            "band and hop, and a rate of 400 or more"
        )
    pad = -len(waveform) % hop
    counts = np.full((len(waveform) + pad) // hop, hop)
    counts[-1] -= pad
    waveform = np.pad(waveform, (0, pad)).astype(np.float32)
    waveform = np.where(np.isfinite(waveform), waveform, 0)
    return np.stack(
        [np.log(2 * _band_energy(waveform, each, hop) / counts + _SILENCE) for each in _filters(rate, count)]
    )


def _band_energy(
    waveform: Float[np.ndarray, " s"], coefficients: tuple[Float[np.ndarray, " m"], Float[np.ndarray, " k"]], hop: int
) -> Float[np.ndarray, " n"]:
    """Returns the sum of the squares of the filtered samples in every hop, in blocks that bound the memory."""
    numerator, denominator = coefficients
    state = np.zeros(max(len(numerator), len(denominator)) - 1)
    energy, block = [], hop * max(1, _BLOCK // hop)
    for start in range(0, len(waveform), block):
        filtered, state = scipy.signal.lfilter(numerator, denominator, waveform[start : start + block], zi=state)
        energy.append((filtered.reshape(-1, hop) ** 2).sum(1))
    return np.concatenate(energy)


def patches(spectrogram: Num[Array | np.ndarray, "*b f n"], columns: int = PATCH_COLUMNS) -> Float[Array, "*b n d"]:
    """Returns the patch of the last `columns` columns at each one, D = F columns; before the first one it is repeated.

    Raises:
        InputError: no columns.
    """
    if columns < 1:
        raise InputError(f"patches of {columns} columns: give at least one")
    (spectrogram,) = as_float(spectrogram)
    count = spectrogram.shape[-1]
    index = np.maximum(np.arange(count)[:, None] - np.arange(columns)[::-1], 0)
    return jnp.moveaxis(spectrogram[..., index], -3, -2).reshape(*spectrogram.shape[:-2], count, -1)


def principal_components(x: Num[Array | np.ndarray, "*b n d"], count: int = NUM_COMPONENTS) -> Float[Array, "*b n k"]:
    """Projects on the `count` directions of largest variance, fewer if there are fewer dimensions; not whitened.

    Raises:
        InputError: no components.
    """
    if count < 1:
        raise InputError(f"{count} components: give at least one")
    (x,) = as_float(x)
    x = centred(x)
    high = jax.lax.Precision.HIGHEST
    _, vectors = jnp.linalg.eigh(jnp.matmul(x.mT, x, precision=high) / x.shape[-2])
    return jnp.matmul(x, vectors[..., ::-1][..., :count], precision=high)


def lifetime_surprise(features: Num[Array | np.ndarray, "*b n k"]) -> Float[Array, "*b n"]:
    """Computes -ln p of each feature vector under a Gaussian fitted to all of them, less its least possible value.

    That is half the squared Mahalanobis distance.
    """
    (features,) = as_float(features)
    x = centred(features)
    covariance = jnp.matmul(x.mT, x, precision=jax.lax.Precision.HIGHEST) / x.shape[-2]
    return _half_mahalanobis(x, covariance[..., None, :, :])


def local_surprise(features: Num[Array | np.ndarray, "*b n k"], history: int) -> Float[Array, "*b n"]:
    """Computes the same under a diagonal Gaussian of the `history` vectors before each one; 0 for the first of these.

    Raises:
        InputError: a history below 1.
    """
    if history < 1:
        raise InputError(f"history={history}: give at least one vector")
    (features,) = as_float(features)
    count = features.shape[-2]
    if count <= history:
        return jnp.zeros(features.shape[:-1], features.dtype)
    usual = jnp.mean(jnp.var(features, -2), -1)[..., None] * _LOCAL_RIDGE
    values = jnp.moveaxis(features, -2, 0)

    def at(start: Array) -> Array:
        known = jax.lax.dynamic_slice_in_dim(values, start, history + 1, 0)
        variance = jnp.var(known[:-1], 0) + usual
        deviation = (known[-1] - jnp.mean(known[:-1], 0)) ** 2
        return 0.5 * jnp.sum(jnp.where(variance > 0, deviation / jnp.where(variance > 0, variance, 1), 0), -1)

    found = jnp.moveaxis(jax.lax.map(at, jnp.arange(count - history), batch_size=64), 0, -1)
    return jnp.pad(found, [(0, 0)] * (found.ndim - 1) + [(history, 0)])


def _half_mahalanobis(x: Float[Array, "*b n k"], covariance: Float[Array, "*b 1 k k"]) -> Float[Array, "*b n"]:
    values, vectors = jnp.linalg.eigh(covariance[..., 0, :, :])
    values = jnp.maximum(values, 0)
    values = values + _RIDGE * jnp.mean(values, -1, keepdims=True)
    along = jnp.matmul(x, vectors, precision=jax.lax.Precision.HIGHEST) ** 2
    varies = (values > 0)[..., None, :]
    return 0.5 * jnp.sum(jnp.where(varies, along / jnp.where(varies, values[..., None, :], 1), 0), -1)
