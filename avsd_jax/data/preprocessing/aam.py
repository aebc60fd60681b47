"""AAM's preprocessing: ViNet's frames, and two seconds of audio around each frame of a clip.

The published loader resamples to 48 kHz and then to 16 kHz, this one to 16 kHz at once.
"""

import dataclasses

import numpy as np
from jaxtyping import Float32, Num

from avsd_jax.data.preprocessing import vinet
from avsd_jax.data.preprocessing._audio import at_the_start

SECONDS = 2.0
SAMPLE_RATE = 16_000
SAMPLES = round(SECONDS * SAMPLE_RATE)


@dataclasses.dataclass(frozen=True)
class Preprocessing(vinet.Preprocessing):
    """AAM's; waveforms are in [-1, 1]: see the model's option `audio_scale`."""

    sample_rate = SAMPLE_RATE
    waveform_scale = 1.0
    frame_audio = True

    def audio_samples(self, clip_size: int) -> int:
        """Returns the length of a frame's audio."""
        return SAMPLES

    def excerpt_span(
        self, first: int, last: int, num_frames: int, fps: float, sample_rate: int, num_samples: int
    ) -> tuple[int, int]:
        """Returns the samples `(start, stop)`, stop exclusive, of the two seconds centred on a frame's time.

        They may begin before or end after the waveform, where there is silence.
        """
        length = round(SECONDS * sample_rate)
        start = int((first + last) / 2 / fps * sample_rate) - length // 2
        return start, start + length

    def window_audio(
        self, excerpt: Num[np.ndarray, " s"], length: int, reverse: bool = False
    ) -> Float32[np.ndarray, " length"]:
        """Puts the audio at the start of `length` zeros; a longer one is truncated. Arguments as in STANet's."""
        return at_the_start(excerpt, length, reverse)
