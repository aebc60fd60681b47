"""What the scripts of STANet's later releases do: sound as in the CVPR one, bilinear frames, no blur."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from avsd_jax.data.preprocessing.stanet import (
    SAMPLE_RATE,
    WAVEFORM_SCALE,
    audio_samples,
    fixation_map,
    normalise,
    resize_density,
    resize_frame,
    window_audio,
)
from avsd_jax.data.preprocessing.stanet_cvpr import excerpt_span

__all__ = [
    "SAMPLE_RATE",
    "WAVEFORM_SCALE",
    "audio_samples",
    "excerpt_span",
    "fixation_map",
    "normalise",
    "resize_density",
    "resize_frame",
    "smooth",
    "to_picture",
    "window_audio",
]


def smooth(prediction: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "height width"]:
    """A map resized to `(height, width)` by OpenCV's bilinear filter; the released script leaves it at 356 x 356."""
    return cv2.resize(prediction, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def to_picture(smoothed: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Stretches a map so that its largest value is 255: rint(255 a / (max a + 1e-8))."""
    return np.rint(255 * smoothed / (smoothed.max() + 1e-8)).astype(np.uint8)
