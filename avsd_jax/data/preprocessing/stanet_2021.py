"""The preprocessing in the scripts of STANet's later releases: audio as in the CVPR one, bilinear frames, no blur."""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from avsd_jax.data.preprocessing import stanet, stanet_cvpr


@dataclasses.dataclass(frozen=True)
class Preprocessing(stanet_cvpr.Preprocessing):
    """That of the later releases."""

    resize_frame = stanet.Preprocessing.resize_frame

    def smooth(self, prediction: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "height width"]:
        """Resizes a map to `(height, width)` by OpenCV's bilinear filter; the released script leaves it 356 x 356."""
        return cv2.resize(prediction, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)

    def to_image(self, smoothed: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
        """Scales a map so that its largest value is 255: rint(255 a / (max a + 1e-8))."""
        return np.rint(255 * smoothed / (smoothed.max() + 1e-8)).astype(np.uint8)
