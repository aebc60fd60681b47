"""STANet's preparation: ViNet's pictures, maps by PIL, and half a second of sound at 16 kHz.

The half second of the first frame starts a video, that of the last frame ends it, and those between move on evenly: it
starts with its frame at the beginning of a video and ends with it at the end.
"""

import numpy as np
from jaxtyping import Float32, Num
from PIL import Image

from avsd_jax.data.preprocessing.vinet import fixation_map, normalise, resize_frame

# What the networks hear is resampled to this rate, in Hz, before anything is cut out.
SAMPLE_RATE = 16000
# Waveforms stay in [-1, 1].
WAVEFORM_SCALE = 1.0
_SECONDS = 0.5

__all__ = [
    "SAMPLE_RATE",
    "WAVEFORM_SCALE",
    "audio_samples",
    "excerpt_span",
    "fixation_map",
    "normalise",
    "resize_density",
    "resize_frame",
    "window_audio",
]


def resize_density(density: Num[np.ndarray, "h w"], size: tuple[int, int]) -> Float32[np.ndarray, "height width"]:
    """Resizes a density map to `(height, width)` by PIL's antialiased bilinear filter.

    Values are divided by 255 where any of them exceeds 1; the map is not made to sum to one.
    """
    peak = density.max()
    unit = Image.fromarray(density.astype(np.float32) / np.float32(255 if peak > 1 else 1))
    return np.array(unit.resize((size[1], size[0]), Image.Resampling.BILINEAR), np.float32)


def audio_samples(clip_size: int) -> int:
    """Length of the sound, whatever the clip's: half a second."""
    del clip_size
    return round(_SECONDS * SAMPLE_RATE)


def excerpt_span(
    first: int, last: int, num_frames: int, fps: float, sample_rate: int, num_samples: int
) -> tuple[int, int]:
    """Samples `(start, stop)`, stop exclusive, of the half second that belongs to frames `first` to `last`.

    The middle one of them counts. The span may end after the waveform, where that is shorter.
    """
    del fps
    length = round(_SECONDS * sample_rate)
    step = (num_samples - length) // max(1, num_frames - 1)
    start = max(0, step) * ((first + last) // 2)
    return start, start + length


def window_audio(excerpt: Num[np.ndarray, " s"], length: int, reverse: bool = False) -> Float32[np.ndarray, " length"]:
    """The sound in the first samples of `length`, zeros after it; a longer one is cut.

    Args:
        excerpt: samples in [-1, 1].
        length: samples of the buffer.
        reverse: flip the whole buffer.
    """
    out = np.zeros(length, np.float32)
    out[: len(excerpt)] = excerpt[:length]
    return out[::-1] if reverse else out
