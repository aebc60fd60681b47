"""STANet's preprocessing: ViNet's frames, maps by PIL, and half a second of audio at 16 kHz.

The half second is centred on its frame's time, and a prediction is smoothed and normalised as ViNet's. What the
released scripts do instead is in `stanet_cvpr` and `stanet_2021`.
"""

import dataclasses

import numpy as np
from jaxtyping import Float32, Num
from PIL import Image

from avsd_jax.data.preprocessing import vinet
from avsd_jax.data.preprocessing._audio import at_the_start, centred

_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Preprocessing(vinet.Preprocessing):
    """STANet's, as its authors describe it."""

    sample_rate = 16000
    waveform_scale = 1.0

    def resize_density(
        self, density: Num[np.ndarray, "h w"], size: tuple[int, int]
    ) -> Float32[np.ndarray, "height width"]:
        """Resizes a density map to `(height, width)` by PIL's antialiased bilinear filter.

        Values are divided by 255 if any of them exceeds 1; the map is not normalised to sum to one.
        """
        peak = density.max()
        unit = Image.fromarray(density.astype(np.float32) / np.float32(255 if peak > 1 else 1))
        return np.array(unit.resize((size[1], size[0]), Image.Resampling.BILINEAR), np.float32)

    def audio_samples(self, clip_size: int) -> int:
        """Returns the length of the audio, half a second whatever the clip's size."""
        return round(_SECONDS * self.sample_rate)

    def excerpt_span(
        self, first: int, last: int, num_frames: int, fps: float, sample_rate: int, num_samples: int
    ) -> tuple[int, int]:
        """Returns the samples `(start, stop)`, stop exclusive, of the half second centred on frames `first` to `last`.

        It may begin before or end after the waveform, where there is silence.
        """
        return centred(first, last, fps, sample_rate, _SECONDS)

    def window_audio(
        self, excerpt: Num[np.ndarray, " s"], length: int, reverse: bool = False
    ) -> Float32[np.ndarray, " length"]:
        """Puts the audio at the start of `length` zeros; a longer one is truncated.

        Args:
            excerpt: samples in [-1, 1].
            length: samples of the buffer.
            reverse: flip the whole buffer.
        """
        return at_the_start(excerpt, length, reverse)
