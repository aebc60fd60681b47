"""Audio saliency over time by every method, one value per video frame."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.sound import contrast, envelope, kayser, surprise, teager, tsuchida
from avsd_jax.handcrafted.sound.frames import average

RATE = kayser.RATE
STEPS_PER_SECOND = 100

# Long audio is processed in pieces of 10 s, with a second of context on both sides.
_PIECE, _CONTEXT = 10 * RATE, RATE
_HOP = RATE // STEPS_PER_SECOND

_HISTORY = STEPS_PER_SECOND  # of the Gaussian surprise: a second
_LEAST_VARIANCE = 0.25  # of log power, in nats squared: that of steady noise is larger
_FRAGMENT = STEPS_PER_SECOND // 4
_RECENT = 2 * STEPS_PER_SECOND  # of the local statistics
_LOUDEST = 1e6


def in_pieces(
    function: Callable[[Float[np.ndarray, " s"]], Num[jax.Array, "..."]], waveform: Float[np.ndarray, " s"]
) -> Float[np.ndarray, "..."]:
    """Applies a compiled function of a waveform at 16 kHz, which gives 100 values per second on the last axis.

    It is applied to pieces of the same length, silence added at the ends.
    """
    steps = -(-len(waveform) // _HOP)
    margin, length = _CONTEXT // _HOP, _PIECE // _HOP
    padded = np.pad(waveform, (_CONTEXT, _CONTEXT + -len(waveform) % _PIECE))
    pieces = [
        np.asarray(function(padded[start : start + _PIECE + 2 * _CONTEXT]))[..., margin : margin + length]
        for start in range(0, len(waveform), _PIECE)
    ]
    return np.concatenate(pieces, -1)[..., :steps]


@jax.jit
def _mel(piece: Float[Array, " s"]) -> Float[Array, "f n"]:
    return envelope.log_mel(piece, RATE).T


@jax.jit
def _teager_features(piece: Float[Array, " s"]) -> Float[Array, "3 n"]:
    return jnp.stack(teager.features(piece, RATE))


@jax.jit
def _streams(piece: Float[Array, " s"]) -> Float[Array, "4 n"]:
    return jnp.stack(contrast.streams(piece, RATE))


@jax.jit
def _gaussian_surprise(bands: Float[Array, "f n"]) -> Float[Array, " m"]:
    found = surprise.gaussian(_after_itself(bands), _HISTORY, _LEAST_VARIANCE)
    return surprise.over_bands(found)[_HISTORY:]


@jax.jit
def _gamma_surprise(bands: Float[Array, "f n"]) -> Float[Array, " m"]:
    return surprise.over_bands(surprise.gamma(jnp.exp(_after_itself(bands) / 2)))[_HISTORY:]


def _after_itself(bands: Float[Array, "f n"]) -> Float[Array, "f m"]:
    """Returns columns after a second of the first one: the start of a file is no surprise."""
    return jnp.pad(bands, ((0, 0), (_HISTORY, 0)), "edge")


@jax.jit
def _rareness(spectrogram: Float[Array, "f n"]) -> Float[Array, " n"]:
    features = tsuchida.principal_components(tsuchida.patches(spectrogram))
    history = min(_RECENT, max(1, features.shape[0] // 2))
    return tsuchida.lifetime_surprise(features) + tsuchida.local_surprise(features, history)


_divergence_of = jax.jit(lambda bands: surprise.fragment_divergence(jnp.exp(bands), _FRAGMENT))
_teager_saliency = jax.jit(lambda found: teager.saliency(teager.Features(*found)))
_contrast_saliency = jax.jit(lambda found: contrast.saliency(contrast.Streams(*found), STEPS_PER_SECOND))


def log_mel(waveform: Float[np.ndarray, " s"]) -> Float[np.ndarray, "f n"]:
    """Computes the log mel spectrogram of a waveform at 16 kHz, of any length: 40 bands, 100 columns per second."""
    return in_pieces(_mel, waveform)


def _energy(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Root mean square of the samples."""
    per_millisecond = RATE // 1000
    padded = np.pad(waveform, (0, -len(waveform) % per_millisecond)).reshape(-1, per_millisecond)
    return jnp.sqrt(average(np.square(padded).mean(1), 1000, edges))


def _onset(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Onset strength: how much louder the mel bands become."""
    return average(envelope.spectral_flux(log_mel(waveform).T), STEPS_PER_SECOND, edges)


def _kayser(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Kayser's auditory saliency map, averaged over frequency."""
    return average(kayser.curve(waveform, RATE), kayser.COLUMNS_PER_SECOND, edges)


def _gaussian(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Schauerte's surprise, Gaussian: log power of mel bands, a second of history."""
    return average(_gaussian_surprise(log_mel(waveform)), STEPS_PER_SECOND, edges)


def _gamma(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Schauerte's surprise, Gamma: magnitudes of mel bands, forgetting 0.7."""
    return average(_gamma_surprise(log_mel(waveform)), STEPS_PER_SECOND, edges)


def _divergence(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """KL divergence of the spectrum of a quarter of a second from that before it."""
    return average(_divergence_of(log_mel(waveform)), STEPS_PER_SECOND, edges)


def _natural_statistics(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Tsuchida and Cottrell's surprise under the statistics of the whole file and of the last two seconds, added."""
    spectrogram = tsuchida.gammatone_spectrogram(waveform, RATE, hop=_HOP).astype(np.float32)
    return average(_rareness(spectrogram), STEPS_PER_SECOND, edges)


def _teager(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Teager energy, amplitude and frequency of the dominant band, averaged."""
    return average(_teager_saliency(in_pieces(_teager_features, waveform)), STEPS_PER_SECOND, edges)


def _contrast(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Temporal contrast of envelope, pitch, bandwidth and rate."""
    return average(_contrast_saliency(in_pieces(_streams, waveform)), STEPS_PER_SECOND, edges)


METHODS: dict[str, Callable[[Float[np.ndarray, " s"], Float[np.ndarray, " e"]], Float[jax.Array, " n"]]] = {
    "energy": _energy,
    "onset": _onset,
    "kayser": _kayser,
    "surprise_gaussian": _gaussian,
    "surprise_gamma": _gamma,
    "divergence": _divergence,
    "natural_statistics": _natural_statistics,
    "teager": _teager,
    "contrast": _contrast,
}


def curve(
    waveform: Num[np.ndarray, " s"], rate: int, method: str, edges: Float[np.ndarray, " e"]
) -> Float[np.ndarray, " n"]:
    """Computes the saliency of audio by one method, averaged within video frames.

    Args:
        waveform: S samples in [-1, 1], of any number; samples that are not finite are silence, and those beyond a
            million, of which squares overflow, are cut off there.
        rate: samples per second, resampled to 16 kHz.
        method: a name in `METHODS`.
        edges: of the N = E - 1 frames, in seconds, increasing: see `avsd_jax.handcrafted.sound.frames`.

    Returns:
        Finite values that are not negative, in the method's own units; 0 after the end of the audio. Silence gives 0
        everywhere. Long audio is processed in pieces.

    Raises:
        InputError: an unknown method, no samples, a rate below 1, or edges that do not increase.
    """
    if method not in METHODS:
        raise InputError(f"unknown method of audio saliency {method!r}: choose of {', '.join(METHODS)}")
    if len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise InputError("the edges of the frames must increase, and there must be two: give the frames of the file")
    waveform = np.where(np.isfinite(waveform), np.clip(waveform, -_LOUDEST, _LOUDEST), 0).astype(waveform.dtype)
    return np.asarray(METHODS[method](kayser.resampled(waveform, rate, RATE), np.asarray(edges, np.float64)))
