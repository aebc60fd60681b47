"""Audio saliency over time by every method, one value per video frame."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Num

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


def in_pieces(
    function: Callable[[Float[np.ndarray, " s"]], Num[jax.Array, "..."]], waveform: Float[np.ndarray, " s"]
) -> Float[np.ndarray, "..."]:
    """Applies a function of a waveform at 16 kHz, which gives 100 values per second on the last axis, piece by piece.

    All pieces have the same length, silence added, so that one program is compiled.
    """
    steps = -(-len(waveform) // _HOP)
    margin, length = _CONTEXT // _HOP, _PIECE // _HOP
    padded = np.pad(waveform, (_CONTEXT, _CONTEXT + -len(waveform) % _PIECE))
    compiled = jax.jit(function)
    pieces = [
        np.asarray(compiled(padded[start : start + _PIECE + 2 * _CONTEXT]))[..., margin : margin + length]
        for start in range(0, len(waveform), _PIECE)
    ]
    return np.concatenate(pieces, -1)[..., :steps]


def _bands(waveform: Float[np.ndarray, " s"]) -> Float[np.ndarray, "f n"]:
    """Returns the log mel spectrogram."""
    return in_pieces(lambda piece: envelope.log_mel(piece, RATE).T, waveform)


def _after_itself(bands: Float[np.ndarray, "f n"]) -> Float[np.ndarray, "f m"]:
    """Returns columns after a second of the first one: the start of a file is no surprise."""
    return np.pad(bands, ((0, 0), (_HISTORY, 0)), "edge")


def _energy(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Root mean square of the samples."""
    per_millisecond = RATE // 1000
    padded = np.pad(waveform, (0, -len(waveform) % per_millisecond)).reshape(-1, per_millisecond)
    return jnp.sqrt(average(np.square(padded).mean(1), 1000, edges))


def _onset(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Onset strength."""
    bands = _bands(waveform)
    rise = np.maximum(np.diff(bands, axis=1, prepend=bands[:, :1]), 0)
    return average(rise.mean(0), STEPS_PER_SECOND, edges)


def _kayser(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Kayser's auditory saliency map, averaged over frequency."""
    return average(kayser.curve(waveform, RATE), kayser.COLUMNS_PER_SECOND, edges)


def _gaussian(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Schauerte's surprise, Gaussian: log power of mel bands, a second of history."""
    found = surprise.gaussian(_after_itself(_bands(waveform)), _HISTORY, _LEAST_VARIANCE)
    return average(surprise.over_bands(found)[_HISTORY:], STEPS_PER_SECOND, edges)


def _gamma(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Schauerte's surprise, Gamma: magnitudes of mel bands, forgetting 0.7."""
    found = surprise.gamma(np.exp(_after_itself(_bands(waveform)) / 2))
    return average(surprise.over_bands(found)[_HISTORY:], STEPS_PER_SECOND, edges)


def _divergence(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """KL divergence of the spectrum of a quarter of a second from that before it."""
    found = surprise.fragment_divergence(np.exp(_bands(waveform)), _FRAGMENT)
    return average(found, STEPS_PER_SECOND, edges)


def _natural_statistics(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Tsuchida and Cottrell's surprise under the statistics of the whole file and of the last two seconds, added."""
    features = tsuchida.principal_components(
        tsuchida.patches(tsuchida.gammatone_spectrogram(waveform, RATE, hop=_HOP).astype(np.float32))
    )
    history = min(_RECENT, max(1, features.shape[0] // 2))
    found = tsuchida.lifetime_surprise(features) + tsuchida.local_surprise(features, history)
    return average(found, STEPS_PER_SECOND, edges)


def _teager(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Teager energy, amplitude and frequency of the dominant band, averaged."""
    found = in_pieces(lambda piece: jnp.stack(teager.features(piece, RATE)), waveform)
    return average(teager.saliency(teager.Features(*found)), STEPS_PER_SECOND, edges)


def _contrast(waveform: Float[np.ndarray, " s"], edges: Float[np.ndarray, " e"]) -> Float[jax.Array, " n"]:
    """Temporal contrast of envelope, pitch, bandwidth and rate."""
    found = in_pieces(lambda piece: jnp.stack(contrast.streams(piece, RATE)), waveform)
    return average(contrast.saliency(contrast.Streams(*found), STEPS_PER_SECOND), STEPS_PER_SECOND, edges)


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
        waveform: S samples in [-1, 1], of any number; samples that are not finite are silence.
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
    return np.asarray(METHODS[method](kayser.resampled(waveform, rate, RATE), np.asarray(edges, np.float64)))
