"""The preprocessing in STANet's CVPR scripts: Lanczos frames, audio windows spread over the file, blurred maps.

The half second of the first frame starts a video, that of the last frame ends it, and those between advance evenly: a
window starts at its frame at the beginning of a video and ends at its frame at the end.
"""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage

from avsd_jax.data.preprocessing import stanet

_SIGMA = 7.0


@dataclasses.dataclass(frozen=True)
class Preprocessing(stanet.Preprocessing):
    """That of the CVPR release."""

    def resize_frame(
        self, frame: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Resizes an RGB frame to `(height, width)`, aspect ratio not kept, by PIL's Lanczos filter."""
        return np.asarray(Image.fromarray(frame).resize((size[1], size[0]), Image.Resampling.LANCZOS))

    def excerpt_span(
        self, first: int, last: int, num_frames: int, fps: float, sample_rate: int, num_samples: int
    ) -> tuple[int, int]:
        """Returns the samples `(start, stop)`, stop exclusive, of the half second of frames `first` to `last`.

        The middle one of them counts. The span may end after a shorter waveform. In a file whose length is not known
        yet, a frame counts as the last known one.
        """
        length = self.audio_samples(1) * sample_rate // self.sample_rate
        step = (num_samples - length) // max(1, num_frames - 1)
        start = max(0, step) * ((first + last) // 2)
        return start, start + length

    def smooth(self, prediction: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "height width"]:
        """Truncates a map to 8 bits, blurs it (Gaussian, sigma 7 of its own pixels), scales it to 255 and resizes it.

        Args:
            prediction: in [0, 1].
            size: (height, width) of the result, whole numbers in [0, 255].
        """
        blurred = ndimage.gaussian_filter(np.floor(np.float64(prediction) * 255) / 255, _SIGMA)
        grey = (blurred / max(blurred.max(), 1e-12) * 255).astype(np.uint8)
        return cv2.resize(grey, (size[1], size[0]), interpolation=cv2.INTER_LINEAR).astype(np.float32)

    def to_image(self, smoothed: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
        """Converts the result of `smooth` to bytes."""
        return smoothed.astype(np.uint8)
