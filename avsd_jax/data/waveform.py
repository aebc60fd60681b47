"""Waveforms: conversion of 16-bit samples to floats and back, and resampling as a whole or in parts."""

import functools
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int16

Reader = Callable[[int, int], Int16[np.ndarray, " s"]]

# Half length of the resampling filter, in samples of the slower rate (that of scipy.signal.resample_poly).
_FILTER_HALF_LENGTH = 10


def resample(waveform: Float32[np.ndarray, " s"], source_rate: int, target_rate: int) -> Float32[np.ndarray, " t"]:
    """Resamples a whole waveform to ceil(s * target_rate / source_rate) samples.

    It uses scipy's polyphase filter instead of FFmpeg's resampler (which decodes files, see `avsd_jax.media.reading`):
    it adds no delay, is the same in every version, and any part of its output can be computed alone.
    """
    from scipy import signal  # takes a second, only needed for resampling

    up, down, taps = _filter(source_rate, target_rate)
    return waveform if up == down else signal.resample_poly(waveform, up, down, window=taps)


def resample_span(read: Reader, source_rate: int, target_rate: int, start: int, stop: int) -> Float32[np.ndarray, " s"]:
    """Returns the samples `start` to `stop` (exclusive) of the resampled waveform of a reader, in [-1, 1].

    Within the waveform they equal those of `resample` on all of it, but only the samples that they depend
    on are read; outside of it they are zero except for the ringing of the filter.
    """
    up, down, _ = _filter(source_rate, target_rate)
    # A period of both rates is `down` source and `up` target samples: whole periods keep the phase.
    margin = math.ceil((_FILTER_HALF_LENGTH * max(up, down) / up + 1) / down)
    first, last = start // up - margin, -(-stop // up) + margin
    waveform = to_float(read(first * down, last * down))
    return resample(waveform, source_rate, target_rate)[start - first * up : stop - first * up]


def to_float(samples: Int16[np.ndarray, " s"]) -> Float32[np.ndarray, " s"]:
    """Converts 16-bit samples to a waveform in [-1, 1)."""
    return samples.astype(np.float32) * np.float32(2**-15)


def to_int16(waveform: Float32[np.ndarray, " s"]) -> Int16[np.ndarray, " s"]:
    """Converts a waveform to 16-bit samples, clipped: inverse of `to_float`."""
    return np.clip(np.round(waveform * 2**15), -(2**15), 2**15 - 1).astype(np.int16)


@functools.lru_cache(maxsize=32)
def _filter(source_rate: int, target_rate: int) -> tuple[int, int, np.ndarray]:
    from scipy import signal

    common = math.gcd(source_rate, target_rate)
    up, down = target_rate // common, source_rate // common
    slower = max(up, down)
    taps = (
        signal.firwin(2 * _FILTER_HALF_LENGTH * slower + 1, 1 / slower, window=("kaiser", 5.0)) if slower > 1 else [1]
    )
    return up, down, np.asarray(taps, np.float32)
