"""Sound of stored videos: readers of a waveform as it is or replaced for an audit.

A reader is a function `(start, stop) -> int16 samples`, zero outside the waveform. It reads no more than it
is asked for: a long video need not be in memory for the half second around one frame.
"""

import functools

import numpy as np
from jaxtyping import Int16

from avsd_jax.data.store import VideoStore
from avsd_jax.data.waveform import Reader, resample_span, to_int16
from avsd_jax.errors import InputError

# What evaluation may replace a video's sound by; see `reader`.
AUDIO_CONDITIONS = ("real", "silent", "shuffled", "noise")

_NOISE_BLOCK = 4096


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
