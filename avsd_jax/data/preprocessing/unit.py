"""Frames as RGB in [0, 1], for models that are computed and not learned; audio as a plain waveform."""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from avsd_jax.data.preprocessing import vinet


@dataclasses.dataclass(frozen=True)
class Preprocessing(vinet.Preprocessing):
    """ViNet's but for the range of frames and waveforms; maps are converted to images without its blur."""

    waveform_scale = 1.0

    def normalise(self, frames: UInt8[np.ndarray, "*t h w 3"]) -> Float32[np.ndarray, "*t h w 3"]:
        """Divides RGB frames by 255."""
        return frames.astype(np.float32) / np.float32(255)

    def smooth(self, prediction: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "height width"]:
        """Resizes a predicted map to `(height, width)` (bilinear)."""
        return cv2.resize(prediction, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
