"""Temporal contrast of one-dimensional features of audio: envelope, pitch, bandwidth, rate (survey, IV.A, [128]).

The survey says which features there are and that their contrasts are added; how each is computed is our choice.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from avsd_jax.handcrafted.normalise import as_float, unit
from avsd_jax.handcrafted.sound.frames import layout, windows

# Centre and surround of each contrast, seconds.
SCALES = ((0.02, 0.16), (0.04, 0.32), (0.08, 0.64))
PITCH_HZ = (70.0, 500.0)

_WINDOW_SECONDS = 0.040
_SLOWEST_HZ = 2.0  # of the modulations that make the rate
_SILENCE = 1e-6


class Streams(NamedTuple):
    """Features of frames every 10 ms: log energy, pitch and bandwidth in octaves, and modulations in log Hz."""

    envelope: Float[Array, "*b n"]
    pitch: Float[Array, "*b n"]
    bandwidth: Float[Array, "*b n"]
    rate: Float[Array, "*b n"]


def streams(waveform: Num[Array | np.ndarray, "*b s"], rate: int) -> Streams:
    """Computes the features of frames of 40 ms every 10 ms; beyond the ends is silence.

    The envelope is the log of the power. Pitch is the log of the lag of the largest autocorrelation, weighted by its
    height, so that noise and silence are at a middle value; bandwidth the log of the spectrum's deviation around its
    centroid. Rate is the log of the mean frequency at which the envelope varies, within half a second.

    Args:
        waveform: S samples; those that are not finite are silence.
        rate: samples per second.
    """
    frames = layout(np.shape(waveform)[-1], rate, _WINDOW_SECONDS)
    pieces = windows(waveform, frames)
    pieces = pieces - jnp.mean(pieces, -1, keepdims=True)
    power = jnp.mean(pieces**2, -1)
    size = 1 << (2 * frames.length - 1).bit_length()
    window = np.hanning(frames.length + 2)[1:-1].astype(pieces.dtype)
    spectrum = jnp.abs(jnp.fft.rfft(pieces * window, size)) ** 2
    envelope = jnp.log(power + _SILENCE)
    return Streams(
        envelope, _pitch(spectrum, size, rate), _bandwidth(spectrum, size, rate), _rate(envelope, rate / frames.hop)
    )


def _pitch(spectrum: Float[Array, "*b n f"], size: int, rate: int) -> Float[Array, "*b n"]:
    shortest, longest = (max(1, round(rate / hertz)) for hertz in PITCH_HZ[::-1])
    lags = np.arange(shortest, min(longest, size // 2) + 1)
    likeness = jnp.fft.irfft(spectrum, size)
    floor = _SILENCE * size
    height = likeness[..., lags] / (likeness[..., :1] + floor)
    best = jnp.argmax(height, -1)
    middle = np.log2(rate / np.sqrt(PITCH_HZ[0] * PITCH_HZ[1]))
    octaves = middle - jnp.log2(jnp.asarray(lags, spectrum.dtype))[best]
    return octaves * jnp.clip(jnp.max(height, -1), 0, 1)


def _bandwidth(spectrum: Float[Array, "*b n f"], size: int, rate: int) -> Float[Array, "*b n"]:
    hertz = jnp.asarray(np.arange(size // 2 + 1) * rate / size, spectrum.dtype)
    # White noise of little power is added: silence is as wide as that.
    weights = spectrum + _SILENCE * size
    weights = weights / jnp.sum(weights, -1, keepdims=True)
    centroid = jnp.sum(weights * hertz, -1, keepdims=True)
    return jnp.log2(1 + jnp.sqrt(jnp.sum(weights * (hertz - centroid) ** 2, -1)))


def _rate(envelope: Float[Array, "*b n"], per_second: float) -> Float[Array, "*b n"]:
    length = max(4, round(per_second / _SLOWEST_HZ))
    count = envelope.shape[-1]
    pad = [(0, 0)] * (envelope.ndim - 1) + [(length // 2, length)]
    index = np.arange(count)[:, None] + np.arange(length)
    pieces = jnp.pad(envelope, pad, "edge")[..., index]
    window = np.hanning(length + 2)[1:-1].astype(envelope.dtype)
    pieces = (pieces - jnp.mean(pieces, -1, keepdims=True)) * window
    power = jnp.abs(jnp.fft.rfft(pieces)) ** 2
    power = power[..., 1:] + _SILENCE
    hertz = jnp.asarray(np.arange(1, length // 2 + 1) * per_second / length, envelope.dtype)
    return jnp.log2(jnp.sum(power * hertz, -1) / jnp.sum(power, -1))


def contrast(
    feature: Num[Array | np.ndarray, "*b n"], per_second: float | int, scales: Sequence[tuple[float, float]] = SCALES
) -> Float[Array, "*b n"]:
    """Computes c(t), the sum over scales of |G_c * f - G_s * f|, with Gaussians of two widths; ends are repeated.

    Args:
        feature: f, N values.
        per_second: values per second.
        scales: standard deviations of centre and surround, seconds.
    """
    (feature,) = as_float(feature)
    feature = feature - feature[..., :1]  # exactly 0 if constant
    return sum(
        jnp.abs(_smoothed(feature, centre * per_second) - _smoothed(feature, surround * per_second))
        for centre, surround in scales
    )


def _smoothed(x: Float[Array, "*b n"], deviation: float) -> Float[Array, "*b n"]:
    half = max(1, int(np.ceil(3 * deviation)))
    kernel = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * deviation**2))
    kernel = jnp.asarray(kernel / kernel.sum(), x.dtype)
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(half, half)], "edge")
    flat = padded.reshape(-1, padded.shape[-1])
    return jax.vmap(lambda row: jnp.convolve(row, kernel, "valid", precision="highest"))(flat).reshape(x.shape)


def saliency(found: Streams, per_second: float | int) -> Float[Array, "*b n"]:
    """Adds the contrasts of all features, each scaled to [0, 1] over the clip, with equal weights; in [0, 1]."""
    return sum(unit(contrast(x, per_second), -1) for x in found) / len(found)
