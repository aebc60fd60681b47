"""Audio of stored videos: readers of the real waveform, or of a replacement for the audio ablation.

A reader is a function `(start, stop) -> int16 samples`, zero outside the waveform. It only reads the requested
samples: a long video need not be in memory for the half second around one frame.
"""

import functools

import numpy as np
from jaxtyping import Float32, Int16

from avsd_jax.data.store import VideoStore
from avsd_jax.data.waveform import Reader, resample_span, to_int16
from avsd_jax.errors import InputError

# Replacements of a video's audio in evaluation; see `reader`.
AUDIO_CONDITIONS = ("real", "silent", "shuffled", "noise")

_NOISE_BLOCK = 4096
# Samples of a resampled waveform that are computed and cached together.
_BLOCK = 8192


def reader(store: VideoStore, video: int, condition: str = "real") -> Reader:
    """Returns a reader of a video's audio, at the video's own sampling rate.

    Args:
        store: of the video.
        video: its position in the store.
        condition: "real"; "silent", zeros; "shuffled", the audio of another video of the split (half the
            split away, because neighbours in the list may share a recording), from its beginning, repeated; "noise",
            Gaussian with the root mean square of the real audio, seeded by the video's position.

    Raises:
        InputError: an unknown condition, or no other video has audio.
    """
    if condition == "real":
        return functools.partial(store.audio, video)
    if condition == "silent":
        return lambda start, stop: np.zeros(max(0, stop - start), np.int16)
    if condition == "shuffled":
        return within(store.videos[video].num_samples, _other(store, video))
    if condition == "noise":
        return within(store.videos[video].num_samples, functools.partial(_noise, video, store.videos[video].audio_rms))
    raise InputError(f"unknown audio condition {condition!r}: choose one of {', '.join(AUDIO_CONDITIONS)}")


def resampled(
    store: VideoStore, video: int, read: Reader, waveform: str, rate: int, start: int, stop: int
) -> Float32[np.ndarray, " s"]:
    """Resamples a part of a waveform, computed and cached in blocks.

    Args:
        store: of the video, whose cache is used.
        video: its position in the store.
        read: reads the waveform, at the video's rate.
        waveform: names it among those of the video, for the cache.
        rate: of the result, Hz.
        start, stop: samples at this rate, stop exclusive.
    """
    source_rate = store.videos[video].sample_rate

    def block(number: int) -> np.ndarray:
        low = number * _BLOCK
        return resample_span(read, source_rate, rate, low, low + _BLOCK)

    first, last = start // _BLOCK, -(-stop // _BLOCK)
    blocks = [
        store.derived.get((video, number, rate, waveform), lambda n=number: block(n)) for number in range(first, last)
    ]
    return np.concatenate(blocks)[start - first * _BLOCK : stop - first * _BLOCK]


def within(num_samples: int, read: Reader) -> Reader:
    """Returns the reader, zero outside the first `num_samples` samples."""

    def read_within(start: int, stop: int) -> Int16[np.ndarray, " s"]:
        out = np.zeros(max(0, stop - start), np.int16)
        low, high = max(start, 0), min(stop, num_samples)
        if low < high:
            out[low - start : high - start] = read(low, high)
        return out

    return read_within


def conditions_for(store: VideoStore) -> tuple[str, ...]:
    """Returns the conditions that exist for all videos of a split: without two that have audio, none is exchanged."""
    exchanged = sum(video.audio_rms > 0 for video in store.videos) > 1
    return tuple(condition for condition in AUDIO_CONDITIONS if exchanged or condition != "shuffled")


def _other(store: VideoStore, video: int) -> Reader:
    """Returns the audio of another video at this video's rate, repeated endlessly; for samples from 0 on."""
    n = len(store.videos)
    others = [(video + n // 2 + i) % n for i in range(n)]
    with_sound = [i for i in others if i != video and store.videos[i].audio_rms > 0]
    if not with_sound:
        raise InputError(f"{store.name} has no other video with audio for {store.videos[video].id!r}: use two or more")
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
    """Generates noise in blocks with separate seeds, so that a sample does not depend on the request; from 0 on."""
    first, last = start // _NOISE_BLOCK, -(-stop // _NOISE_BLOCK)
    blocks = [np.random.default_rng([video, block]).standard_normal(_NOISE_BLOCK) for block in range(first, last)]
    samples = np.concatenate(blocks)[start - first * _NOISE_BLOCK : stop - first * _NOISE_BLOCK]
    return np.clip(np.round(samples * rms), -(2**15), 2**15 - 1).astype(np.int16)
