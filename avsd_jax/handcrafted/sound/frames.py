"""Frames of audio: short, overlapping pieces at a fixed hop, and their averages within video frames."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.normalise import as_float


class Layout(NamedTuple):
    """Frames of a waveform: length and hop in samples, and their number; frame j is centred on (j + 1/2) hops."""

    length: int
    hop: int
    count: int


def layout(samples: int, rate: int, length_seconds: float = 0.025, hop_seconds: float = 0.010) -> Layout:
    """Returns the frames that cover `samples` samples: at least one, the last one maybe beyond the end."""
    length, hop = max(1, round(length_seconds * rate)), max(1, round(hop_seconds * rate))
    return Layout(length, hop, max(1, -(-samples // hop)))


def padded(waveform: Num[Array | np.ndarray, "*b s"], frames: Layout, margin: int = 0) -> Float[Array, "*b r"]:
    """Adds silence at both ends, so that frame j begins at j hops; samples that are not finite become silence.

    Args:
        waveform: [..., S].
        frames: where they lie.
        margin: further samples on both sides.
    """
    (waveform,) = as_float(waveform)
    before = max(0, frames.length - frames.hop) // 2
    total = (frames.count - 1) * frames.hop + frames.length
    after = max(0, total - before - waveform.shape[-1])
    pad = [(0, 0)] * (waveform.ndim - 1) + [(before + margin, after + margin)]
    return jnp.pad(jnp.where(jnp.isfinite(waveform), waveform, 0), pad)


def windows(waveform: Num[Array | np.ndarray, "*b s"], frames: Layout) -> Float[Array, "*b n l"]:
    """Returns the samples of every frame; beyond the ends is silence."""
    index = np.arange(frames.count)[:, None] * frames.hop + np.arange(frames.length)
    return padded(waveform, frames)[..., index]


def equal_bins(samples: int, rate: int, count: int) -> Float[np.ndarray, " e"]:
    """Returns the edges, in seconds, of `count` bins of equal length that cover a waveform.

    Raises:
        InputError: no bins, or no samples.
    """
    if count < 1 or samples < 1:
        raise InputError(f"{samples} samples of audio in {count} bins: give at least one of each")
    return np.linspace(0, samples / rate, count + 1)


def frame_edges(times: Float[np.ndarray, " n"], last: float | int | None = None) -> Float[np.ndarray, " e"]:
    """Returns the edges of video frames: each lasts until the next one.

    Args:
        times: when the frames are shown, in seconds, increasing.
        last: seconds that the last one is shown; by default as long as the one before it, or 1/25 s.

    Raises:
        InputError: no frames, or times that do not increase.
    """
    if not len(times) or np.any(np.diff(times) <= 0):
        raise InputError("the times of video frames must increase, and there must be one: give those of the file")
    if last is None:
        last = times[-1] - times[-2] if len(times) > 1 else 1 / 25
    return np.append(times, times[-1] + last)


def average(
    curve: Num[Array | np.ndarray, "*b m"], rate: float | int, edges: Num[Array | np.ndarray, " e"]
) -> Float[Array, "*b n"]:
    """Averages a curve within bins, such as the video frames.

    Args:
        curve: M values, of which number j is at (j + 1/2) / rate seconds.
        rate: values per second.
        edges: of N = E - 1 bins, in seconds, increasing; may be traced.

    Returns:
        The mean of the values in each bin. A bin shorter than their distance takes the value at its middle, and one
        beyond the ends of the curve is 0.
    """
    (curve,) = as_float(curve)
    if not curve.shape[-1]:
        return jnp.zeros((*curve.shape[:-1], np.shape(edges)[0] - 1), curve.dtype)
    # Known edges are compared on the host, in float64: float32 cannot count the samples of 20 minutes.
    xp = np if isinstance(edges, np.ndarray) else jnp
    edges = edges * rate
    count, samples = edges.shape[0] - 1, curve.shape[-1]
    bins = xp.searchsorted(edges, xp.arange(samples) + 0.5, side="right") - 1
    outside = (bins < 0) | (bins >= count)
    bins = xp.where(outside, count, bins)
    values = jnp.moveaxis(curve, -1, 0)
    total = jax.ops.segment_sum(values, bins, count + 1)[:-1]
    number = jax.ops.segment_sum(jnp.ones(samples, curve.dtype), bins, count + 1)[:-1]
    number = number.reshape(-1, *[1] * (curve.ndim - 1))
    nearest = xp.floor((edges[:-1] + edges[1:]) / 2).astype(np.int32)
    held = values[xp.clip(nearest, 0, samples - 1)]
    within = ((nearest >= 0) & (nearest < samples)).reshape(number.shape)
    mean = jnp.where(number > 0, total / jnp.maximum(number, 1), jnp.where(within, held, 0))
    return jnp.moveaxis(mean, 0, -1)
