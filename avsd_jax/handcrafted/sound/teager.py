"""Teager energy of audio, and the saliency that is made of it (survey, IV.A, [125-127])."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from avsd_jax.common.mel_scale import hertz, mel
from avsd_jax.errors import InputError
from avsd_jax.handcrafted.normalise import as_float, unit
from avsd_jax.handcrafted.sound.frames import layout, padded

# Our choices: the published front end's are unknown.
NUM_FILTERS = 25
LOWEST_HZ = 100.0
FUSIONS = ("mean", "max", "min", "inverse_variance")

_STANDARD_DEVIATIONS = 4.0  # a filter is cut off there


class Features(NamedTuple):
    """Of the dominant band of each of N frames: mean Teager energy, instant amplitude, instant frequency (radians)."""

    energy: Float[Array, "*b n"]
    amplitude: Float[Array, "*b n"]
    frequency: Float[Array, "*b n"]


def psi(x: Num[Array | np.ndarray, "*b s"]) -> Float[Array, "*b r"]:
    """Computes the Teager-Kaiser energy x(n)^2 - x(n-1) x(n+1) of the samples 1 to S - 2; R = max(0, S - 2).

    That of A cos(W n + phi) is A^2 sin(W)^2.
    """
    (x,) = as_float(x)
    return x[..., 1:-1] ** 2 - x[..., :-2] * x[..., 2:]


def desa1(x: Num[Array | np.ndarray, "*b s"]) -> tuple[Float[Array, "*b r"], Float[Array, "*b r"]]:
    """Separates a signal into amplitude and frequency by DESA-1, for the samples 2 to S - 3; R = max(0, S - 4).

    Returns:
        `(amplitude, frequency in radians per sample)`. Both are finite, but without meaning where the signal is no
        oscillation: where its energy is negative, whose magnitude is taken, or where the cosine of the frequency
        lies beyond 1 and is cut off there.
    """
    amplitude, cosine, _ = _separated(x)
    return amplitude, jnp.arccos(cosine)


def _separated(x: Num[Array | np.ndarray, "*b s"]) -> tuple[Array, Array, Array]:
    """Returns amplitude, cosine of the frequency within [-1, 1], and the energy."""
    (x,) = as_float(x)
    energy = psi(x)[..., 1:-1]
    change = psi(x[..., 1:] - x[..., :-1])
    least = 1e-300 if x.dtype == jnp.float64 else 1e-30
    tiny = jnp.finfo(x.dtype).tiny
    safe = jnp.where(jnp.abs(energy) > tiny, energy, 1)
    cosine = jnp.where(jnp.abs(energy) > tiny, 1 - (change[..., :-1] + change[..., 1:]) / (4 * safe), 1)
    cosine = jnp.clip(cosine, -1, 1)
    return jnp.sqrt(jnp.abs(energy) / jnp.maximum(1 - cosine**2, least)), cosine, energy


def gabor_bank(rate: int, count: int = NUM_FILTERS, lowest: float | int = LOWEST_HZ) -> Float[np.ndarray, "k l"]:
    """Returns impulse responses of Gabor filters, exp(-t^2 / (2 s^2)) cos(2 pi f t), evenly spaced in mel.

    Neighbours cross at half their gain; the gain at the centre is 1.

    Args:
        rate: samples per second.
        count: K filters.
        lowest: centre of the lowest one, in Hz; that of the highest is below half the rate.

    Raises:
        InputError: no filters, or a rate too low for the lowest one.
    """
    if count < 1 or not rate > 4 * lowest:
        raise InputError(f"{count} filters from {lowest:g} Hz at {rate} samples per second: give at least one, and "
                         "a rate above four times the lowest frequency")  # fmt: skip
    edges = hertz(np.linspace(mel(lowest), mel(rate / 2), count + 2))
    centres, spacing = edges[:-2], np.diff(edges)[:-1]
    # A Gaussian of standard deviation b in frequency has half its gain at 1.177 b.
    seconds = 2.355 / (2 * np.pi * spacing)
    half = int(np.ceil(_STANDARD_DEVIATIONS * seconds.max() * rate))
    time = np.arange(-half, half + 1) / rate
    bank = np.exp(-(time**2) / (2 * seconds[:, None] ** 2)) * np.cos(2 * np.pi * centres[:, None] * time)
    gain = np.abs(np.sum(bank * np.exp(-2j * np.pi * centres[:, None] * time), -1))
    return bank / gain[:, None]


def features(waveform: Num[Array | np.ndarray, "*b s"], rate: int, num_filters: int = NUM_FILTERS) -> Features:
    """Computes the features of frames of 25 ms every 10 ms (`frames.layout`); beyond the ends is silence.

    In each frame the band of the largest mean Teager energy is separated by DESA-1, and energy, amplitude and
    frequency are averaged over it. Samples that DESA-1 cannot separate have no part in the last two; silence
    gives 0 for all three.

    Args:
        waveform: S samples, any number. Samples that are not finite are silence.
        rate: samples per second.
        num_filters: of the bank.

    Raises:
        InputError: see `gabor_bank`.
    """
    frames = layout(np.shape(waveform)[-1], rate)
    bank = gabor_bank(rate, num_filters)
    # DESA-1 needs two samples on each side.
    signal = padded(waveform, frames, 2)
    starts = jnp.arange(frames.count) * frames.hop
    length = frames.length

    def band(response: Array) -> tuple[Array, Array, Array]:
        filtered = _filtered(signal, response)
        amplitude, cosine, energy = _separated(filtered)
        heard = (energy > 0) & (jnp.abs(cosine) < 1)
        means = [_frame_sums(z, starts, length) for z in (energy, heard, jnp.where(heard, amplitude, 0))]
        turned = _frame_sums(jnp.where(heard, jnp.arccos(jnp.where(heard, cosine, 0)), 0), starts, length)
        total = jnp.maximum(means[1], 1)
        return means[0] / length, means[2] / total, turned / total

    energy, amplitude, frequency = jax.lax.map(band, jnp.asarray(bank, signal.dtype))
    best = jnp.argmax(energy, 0)[None]
    picked = (jnp.take_along_axis(z, best, 0)[0] for z in (jnp.maximum(energy, 0), amplitude, frequency))
    return Features(*picked)


def _filtered(x: Array, response: Array) -> Array:
    """Filters with a response of odd length that is centred on 0."""
    half, rows = response.shape[0] // 2, x.reshape(-1, x.shape[-1])
    # "full" and cut, because "same" follows the longer of the two.
    full = jax.vmap(lambda row: jax.scipy.signal.fftconvolve(row, response, "full"))(rows)
    return full[:, half : half + x.shape[-1]].reshape(x.shape)


def _frame_sums(x: Array, starts: Array, length: int) -> Array:
    """Sums over frames; each frame by itself, because running sums lose quiet frames after loud ones."""
    x = x.astype(jnp.result_type(x, jnp.float32))
    return jnp.moveaxis(
        jax.lax.map(lambda start: jax.lax.dynamic_slice_in_dim(x, start, length, -1).sum(-1), starts, batch_size=512),
        0,
        -1,
    )


def saliency(found: Features, fusion: str = "mean") -> Float[Array, "*b n"]:
    """Fuses the three features, each scaled to [0, 1] over the clip, to one curve in [0, 1].

    Args:
        found: by `features`.
        fusion: "mean", "max", "min", or "inverse_variance", a mean with weights 1 / variance.

    Raises:
        InputError: an unknown fusion.
    """
    if fusion not in FUSIONS:
        raise InputError(f"unknown fusion {fusion!r} of Teager features: choose one of {', '.join(FUSIONS)}")
    scaled = jnp.stack([unit(x, -1) for x in found])
    if fusion == "max":
        return jnp.max(scaled, 0)
    if fusion == "min":
        return jnp.min(scaled, 0)
    variance = jnp.var(scaled, -1, keepdims=True)
    # A constant feature says nothing, though its variance is the least.
    weights = jnp.where(variance > 0, 1 / jnp.where(variance > 0, variance, 1), 0)
    if fusion == "mean":
        weights = jnp.ones_like(weights)
    return jnp.sum(weights * scaled, 0) / jnp.maximum(jnp.sum(weights, 0), jnp.finfo(scaled.dtype).tiny)
