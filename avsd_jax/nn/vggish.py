"""The front end of VGGish (Hershey et al., ICASSP 2017) with DAVE's windows: patches of a log-mel spectrogram.

Magnitudes of 25 ms under a periodic Hann window, every 10 ms, in 64 mel bands; log(mel + 0.01), not normalised. A patch
has 64 frames (VGGish's own has 96), the axis of time first.
"""

import functools

import jax.numpy as jnp
import numpy as np
import scipy.signal
from jaxtyping import Array, Float, Float32

from avsd_jax.common.mel_scale import mel
from avsd_jax.errors import InputError
from avsd_jax.nn.spectrogram import segments

SAMPLE_RATE = 16000
HOP, WINDOW, N_FFT = 160, 400, 512
FRAMES, BANDS = 64, 64
# Samples of a patch.
PATCH = (FRAMES - 1) * HOP + WINDOW

_OFFSET = 0.01
_LOWEST, _HIGHEST = 125.0, 7500.0


def log_mel(waveform: Float[Array, "b s"]) -> Float32[Array, "b n 64"]:
    """Computes the log-mel spectrogram of a waveform in [-1, 1] at 16 kHz; N = 1 + (S - 400) // 160.

    Raises:
        InputError: the waveform is shorter than a window.
    """
    window = scipy.signal.get_window("hann", WINDOW).astype(np.float32)
    pieces = segments(waveform.astype(jnp.float32), WINDOW, HOP) * window
    magnitude = jnp.abs(jnp.fft.rfft(pieces, N_FFT))
    return jnp.log(jnp.matmul(magnitude, mel_matrix(), precision="highest") + _OFFSET)


def patches(waveform: Float[Array, "b s"], number: int) -> Float32[Array, "b number 64 64"]:
    """Cuts a waveform's spectrogram into patches that are spread evenly over it, by a whole number of its frames.

    Args:
        waveform: [B, S] in [-1, 1] at 16 kHz.
        number: of patches; the first one begins with the waveform.

    Raises:
        InputError: the waveform is shorter than one patch.
    """
    samples = waveform.shape[1]
    if samples < PATCH:
        raise InputError(f"audio has {samples} samples: give at least {PATCH}, a patch of the spectrogram")
    frames = log_mel(waveform)
    hop = (frames.shape[1] - FRAMES) // max(1, number - 1)
    return frames[:, hop * np.arange(number)[:, None] + np.arange(FRAMES)]


@functools.cache
def mel_matrix() -> Float32[np.ndarray, "257 64"]:
    """Returns the weights of frequencies in bands: triangles in mel of height 1, between 125 and 7500 Hz.

    The lowest frequency, zero, has no weight.
    """
    edges = np.linspace(*mel(np.array([_LOWEST, _HIGHEST])), BANDS + 2)
    place = mel(np.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1))[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0, np.minimum((place - low) / (centre - low), (high - place) / (high - centre)))
    weights[0] = 0
    return weights.astype(np.float32)
