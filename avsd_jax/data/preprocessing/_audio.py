"""Excerpts of audio that models of a fixed length of audio hear."""

import numpy as np
from jaxtyping import Float32, Num


def centred(first: int, last: int, fps: float, sample_rate: int, seconds: float) -> tuple[int, int]:
    """Returns the samples `(start, stop)`, stop exclusive, of so many seconds centred on frames `first` to `last`.

    They may begin before or end after the waveform, where there is silence.
    """
    length = round(seconds * sample_rate)
    start = round((first + last) / 2 / fps * sample_rate) - length // 2
    return start, start + length


def at_the_start(excerpt: Num[np.ndarray, " s"], length: int, reverse: bool = False) -> Float32[np.ndarray, " length"]:
    """Puts audio at the start of `length` zeros; a longer one is truncated.

    Args:
        excerpt: samples of any scale.
        length: samples of the buffer.
        reverse: flip the whole buffer.
    """
    out = np.zeros(length, np.float32)
    out[: len(excerpt)] = excerpt[:length]
    return out[::-1] if reverse else out
