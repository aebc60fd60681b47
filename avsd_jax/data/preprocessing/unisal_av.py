"""UNISAL's frames and maps, and audio of a fixed length around each frame, or around the middle of a clip."""

import dataclasses

import numpy as np
from jaxtyping import Float32, Num

from avsd_jax.data.preprocessing import unisal
from avsd_jax.data.preprocessing._audio import at_the_start, centred


@dataclasses.dataclass(frozen=True)
class Preprocessing(unisal.Preprocessing):
    """That of `unisal_av`; the defaults are for SoundNet.

    Attributes:
        sample_rate: of the audio, Hz; 24000 for AVID's encoder.
        waveform_scale: factor on a waveform in [-1, 1]; 1 for AVID's encoder.
        audio_seconds: length of the audio.
        frame_audio: whether each frame has audio of its own, so that its map does not depend on where clips begin;
            otherwise a clip has one, which costs less.
        fade: whether the audio is multiplied by a Hann window, as AViNet's is.
    """

    sample_rate: int = 22050
    waveform_scale: float = 256.0
    audio_seconds: float = 1.6
    frame_audio: bool = True
    fade: bool = True

    def audio_samples(self, clip_size: int) -> int:
        """Returns the length of the audio, whatever the clip's size."""
        return round(self.audio_seconds * self.sample_rate)

    def excerpt_span(
        self, first: int, last: int, num_frames: int, fps: float, sample_rate: int, num_samples: int
    ) -> tuple[int, int]:
        """Returns the samples `(start, stop)`, stop exclusive, centred on frames `first` to `last`."""
        return centred(first, last, fps, sample_rate, self.audio_seconds)

    def window_audio(
        self, excerpt: Num[np.ndarray, " s"], length: int, reverse: bool = False
    ) -> Float32[np.ndarray, " length"]:
        """Puts the audio at the start of `length` zeros; a longer one is truncated. Arguments as in STANet's."""
        fade = np.hanning(length).astype(np.float32) if self.fade else 1
        return at_the_start(excerpt, length, reverse) * fade
