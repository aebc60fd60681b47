"""DeepVS's preprocessing: RGB in [-1, 1], maps as they are."""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from avsd_jax.data.preprocessing import vinet


@dataclasses.dataclass(frozen=True)
class Preprocessing(vinet.Preprocessing):
    """ViNet's but for the filter and the range of frames, and for the blur of maps."""

    waveform_scale = 1.0

    def resize_frame(
        self, frame: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Resizes an RGB frame to `(height, width)`, aspect ratio not kept, by OpenCV's bilinear filter."""
        return cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)

    def normalise(self, frames: UInt8[np.ndarray, "*t h w 3"]) -> Float32[np.ndarray, "*t h w 3"]:
        """Scales RGB frames to [-1, 1]: frame / 127.5 - 1."""
        return frames.astype(np.float32) / np.float32(127.5) - np.float32(1)

    def smooth(self, prediction: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "height width"]:
        """Resizes a predicted map to `(height, width)` (bilinear)."""
        return cv2.resize(prediction, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
