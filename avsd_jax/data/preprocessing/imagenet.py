"""The preprocessing of networks of images: ImageNet-normalised frames, and maps as they are predicted."""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from avsd_jax.data.preprocessing import vinet


@dataclasses.dataclass(frozen=True)
class Preprocessing(vinet.Preprocessing):
    """ViNet's frames; maps are neither blurred nor stretched."""

    def smooth(self, prediction: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "height width"]:
        """Resizes a map to `(height, width)` by OpenCV's bilinear filter."""
        return cv2.resize(prediction, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)

    def to_image(self, smoothed: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
        """Converts a map in [0, 1] to bytes, rint(255 a)."""
        return np.rint(255 * np.clip(smoothed, 0, 1)).astype(np.uint8)
