"""Sound of stored videos: readers of a waveform as it is or replaced for an audit, and resampling.

A reader is a function `(start, stop) -> int16 samples`, zero outside the waveform. It reads no more than it
is asked for: a long video need not be in memory for the half second around one frame.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int16
from scipy import signal

from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError

Reader = Callable[[int, int], Int16[np.ndarray, " s"]]

# What evaluation may replace a video's sound by; see `reader`.
AUDIO_CONDITIONS = ("real", "silent", "shuffled", "noise")

_NOISE_BLOCK = 4096
# Half length of the resampling filter, in samples of the slower rate (that of scipy.signal.resample_poly).
_FILTER_HALF_LENGTH = 10


def reader(store: VideoStore, video: int, condition: str = "real") -> Reader:
    """A reader of a video's sound, at the video's own sampling rate.

    Args:
        store: where the video is.
        video: its position in the store.
        condition: "real"; "silent", zeros; "shuffled", the sound of another video of the split (half the
            split away, so that neighbours in the list, which may share a recording, do not lend to each
            other), from its beginning, over and over; "noise", Gaussian with the root mean square of the real
            sound, seeded by the video's position.

    Raises:
        InputError: an unknown condition, or no other video has sound.
    """
    if condition == "real":
        return functools.partial(store.audio, video)
    if condition == "silent":
        return lambda start, stop: np.zeros(max(0, stop - start), np.int16)
    if condition == "shuffled":
        return _within(store.videos[video].num_samples, _other(store, video))
    if condition == "noise":
        return _within(store.videos[video].num_samples, functools.partial(_noise, video, store.videos[video].audio_rms))
    raise InputError(f"unknown audio condition {condition!r}: choose one of {', '.join(AUDIO_CONDITIONS)}")


def resample(waveform: Float32[np.ndarray, " s"], source_rate: int, target_rate: int) -> Float32[np.ndarray, " t"]:
    """Resamples a whole waveform; ceil(s * target_rate / source_rate) samples.

    By scipy's polyphase filter and not by FFmpeg's resampler (which decodes files, see `avsd_jax.media`): it
    adds no delay, is the same in every version, and any part of its output can be computed alone.
    """
    up, down, taps = _filter(source_rate, target_rate)
    return waveform if up == down else signal.resample_poly(waveform, up, down, window=taps)


def resample_span(read: Reader, source_rate: int, target_rate: int, start: int, stop: int) -> Float32[np.ndarray, " s"]:
    """Samples `start` to `stop` (exclusive) of the resampled waveform of a reader, in [-1, 1].

    Within the waveform equal to the same samples of `resample` on all of it, reading only what they depend
    on; outside of it zero but for what the filter lets ring.
    """
    up, down, _ = _filter(source_rate, target_rate)
    # A period of both rates is `down` source and `up` target samples: whole periods keep the phase.
    margin = math.ceil((_FILTER_HALF_LENGTH * max(up, down) / up + 1) / down)
    first, last = start // up - margin, -(-stop // up) + margin
    waveform = to_float(read(first * down, last * down))
    return resample(waveform, source_rate, target_rate)[start - first * up : stop - first * up]


def to_float(samples: Int16[np.ndarray, " s"]) -> Float32[np.ndarray, " s"]:
    """16-bit samples as a waveform in [-1, 1)."""
    return samples.astype(np.float32) * np.float32(2**-15)


def to_int16(waveform: Float32[np.ndarray, " s"]) -> Int16[np.ndarray, " s"]:
    """Inverse of `to_float`, clipped."""
    return np.clip(np.round(waveform * 2**15), -(2**15), 2**15 - 1).astype(np.int16)


@functools.lru_cache(maxsize=32)
def _filter(source_rate: int, target_rate: int) -> tuple[int, int, np.ndarray]:
    common = math.gcd(source_rate, target_rate)
    up, down = target_rate // common, source_rate // common
    slower = max(up, down)
    taps = (
        signal.firwin(2 * _FILTER_HALF_LENGTH * slower + 1, 1 / slower, window=("kaiser", 5.0)) if slower > 1 else [1]
    )
    return up, down, np.asarray(taps, np.float32)


def _within(num_samples: int, read: Reader) -> Reader:
    """The reader, zero outside the first `num_samples` samples."""

    def read_within(start: int, stop: int) -> Int16[np.ndarray, " s"]:
        out = np.zeros(max(0, stop - start), np.int16)
        low, high = max(start, 0), min(stop, num_samples)
        if low < high:
            out[low - start : high - start] = read(low, high)
        return out

    return read_within


def _other(store: VideoStore, video: int) -> Reader:
    """The sound of another video at this video's rate, repeated for ever; for samples from 0 on."""
    n = len(store.videos)
    others = [(video + n // 2 + i) % n for i in range(n)]
    with_sound = [i for i in others if i != video and store.videos[i].audio_rms > 0]
    if not with_sound:
        raise InputError(f"{store.name} has no other video with sound for {store.videos[video].id!r}: use two or more")
    other, rate = with_sound[0], store.videos[video].sample_rate
    source = store.videos[other]
    length = -(-source.num_samples * rate // source.sample_rate)

    def once(start: int, stop: int) -> Int16[np.ndarray, " s"]:
        if source.sample_rate == rate:
            return store.audio(other, start, stop)
        return to_int16(resample_span(functools.partial(store.audio, other), source.sample_rate, rate, start, stop))

    def looped(start: int, stop: int) -> Int16[np.ndarray, " s"]:
        pieces = []
        while start < stop:
            offset = start % length
            count = min(stop - start, length - offset)
            pieces.append(once(offset, offset + count))
            start += count
        return np.concatenate(pieces)

    return looped


def _noise(video: int, rms: float, start: int, stop: int) -> Int16[np.ndarray, " s"]:
    """Noise in blocks with a seed each, so that a sample does not depend on how it is read; from 0 on."""
    first, last = start // _NOISE_BLOCK, -(-stop // _NOISE_BLOCK)
    blocks = [np.random.default_rng([video, block]).standard_normal(_NOISE_BLOCK) for block in range(first, last)]
    samples = np.concatenate(blocks)[start - first * _NOISE_BLOCK : stop - first * _NOISE_BLOCK]
    return np.clip(np.round(samples * rms), -(2**15), 2**15 - 1).astype(np.int16)
