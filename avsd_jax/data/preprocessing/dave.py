"""DAVE's preprocessing: Kinetics' mean and deviation, a piece of audio for each frame, and its images of maps.

A piece has 10,480 samples at 16 kHz, of which the model's front end makes 64 columns of 10 ms. Piece i begins with
column i * s, s being the columns of a frame, rounded: 4 at 25 frames per second, where that is exact. At 30 it is 3 for
3.33, and the audio falls back by a tenth of the time that has passed; `timing` says otherwise.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32, Num, UInt8
from PIL import Image

from avsd_jax.data.preprocessing import vinet
from avsd_jax.data.preprocessing._audio import at_the_start
from avsd_jax.data.preprocessing._pillow import resize
from avsd_jax.errors import InputError
from avsd_jax.nn import vggish

MEAN = (110.63666788, 103.16065604, 96.29023126)
STD = (38.7568578, 37.88248729, 40.02898126)
TIMINGS = ("intended", "official_first", "synchronous")
"""Where the pieces of the audio begin; see `Preprocessing`."""

# Columns of a second, and those between pieces for the first video of a run of the official script.
_COLUMNS, _FIRST_STEP = vggish.SAMPLE_RATE // vggish.HOP, 2


@dataclasses.dataclass(frozen=True)
class Preprocessing(vinet.Preprocessing):
    """DAVE's; frames are resized as ViNet's, since how its own were made is not published.

    Attributes:
        timing: where the pieces of the audio begin: "intended", at frames of the video, their length rounded to 10 ms;
            "official_first", 20 ms apart, as the official script has it for the first video that it reads (each later
            one gets the distance of the video before); "synchronous", at the frames' times, which is ours.
    """

    sample_rate = vggish.SAMPLE_RATE
    waveform_scale = 1.0
    frame_audio = True
    timing: str = "intended"

    def __post_init__(self):
        if self.timing not in TIMINGS:
            raise InputError(f"unknown timing {self.timing!r}: choose one of {', '.join(TIMINGS)}")

    def normalise(self, frames: UInt8[np.ndarray, "*t h w 3"]) -> Float32[np.ndarray, "*t h w 3"]:
        """Applies Kinetics' normalisation to RGB frames: (frame / 255 - MEAN / 255) / (STD / 255)."""
        unit = frames.astype(np.float32) / np.float32(255)
        return (unit - np.float32(np.divide(MEAN, 255))) / np.float32(np.divide(STD, 255))

    def resize_density(
        self, density: Num[np.ndarray, "h w"], size: tuple[int, int]
    ) -> Float32[np.ndarray, "height width"]:
        """Resizes a density map to `(height, width)` by PIL's antialiased bicubic filter.

        8-bit maps, and others with a value above 1, are divided by 255.
        """
        plane = density if density.dtype == np.uint8 else density.astype(np.float32)
        resized = np.maximum(resize(plane, size, Image.Resampling.BICUBIC).astype(np.float32), 0)
        return resized / np.float32(255) if density.dtype == np.uint8 or density.max() > 1 else resized

    def audio_samples(self, clip_size: int) -> int:
        """Returns the length of a piece."""
        return vggish.PATCH

    def excerpt_span(
        self, first: int, last: int, num_frames: int, fps: float, sample_rate: int, num_samples: int
    ) -> tuple[int, int]:
        """Returns the samples `(start, stop)`, stop exclusive, from the begin of piece `first` to the end of `last`.

        They may end after the waveform, where there is silence.
        """
        return self._begin(first, fps), self._begin(last, fps) + vggish.PATCH

    def pieces(self, fps: float, num_samples: int) -> int:
        """Returns the number of pieces that a waveform at `sample_rate` holds completely."""
        beyond = num_samples - vggish.PATCH
        if beyond < 0:
            return 0
        if self.timing == "synchronous":
            number = 1 + int(beyond / vggish.SAMPLE_RATE * fps)
            return number - (self._begin(number - 1, fps) > beyond)
        return 1 + beyond // (vggish.HOP * self._step(fps))

    def window_audio(
        self, excerpt: Num[np.ndarray, " s"], length: int, reverse: bool = False
    ) -> Float32[np.ndarray, " length"]:
        """Puts a piece at the start of `length` zeros. Arguments as in ViNet's."""
        return at_the_start(excerpt, length, reverse)

    def smooth(self, prediction: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "height width"]:
        """Converts a map to 8 bits as officially, min-max normalised and truncated, and resizes it (Lanczos).

        Officially `size` is 480 x 640 whatever the video. A constant map, for which the script divides by zero, is
        black.
        """
        low, high = prediction.min(), prediction.max()
        levels = (255 * ((prediction - low) / (high - low if high > low else 1))).astype(np.uint8)
        return resize(levels, size, Image.Resampling.LANCZOS).astype(np.float32)

    def to_image(self, smoothed: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
        """Converts what `smooth` returns, whole numbers, to bytes."""
        return smoothed.astype(np.uint8)

    def _begin(self, piece: int, fps: float) -> int:
        """Returns the first sample of a piece."""
        if self.timing == "synchronous":
            return round(piece / fps * vggish.SAMPLE_RATE)
        return piece * vggish.HOP * self._step(fps)

    def _step(self, fps: float) -> int:
        """Returns the columns from one piece to the next, at least one."""
        return _FIRST_STEP if self.timing == "official_first" else max(1, round(_COLUMNS / fps))
