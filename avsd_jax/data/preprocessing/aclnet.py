"""ACLNet's preprocessing: frames keep their aspect ratio within a canvas of zeros, and maps are cut out of it."""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, Float32, Num, UInt8
from scipy import ndimage

from avsd_jax.data.preprocessing import vinet

_SIGMA = 7.0
# VGG16's means of B, G and R.
_MEANS = (103.939, 116.779, 123.68)


@dataclasses.dataclass(frozen=True)
class Preprocessing(vinet.Preprocessing):
    """That of the published model.

    Attributes:
        swapped_means: whether the mean of blue is subtracted from red and that of red from blue, as the published model
            does; otherwise each from its own.
    """

    waveform_scale = 1.0
    swapped_means: bool = True

    def resize_frame(
        self, frame: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Resizes an RGB frame into the middle of a black canvas of `(height, width)`, by OpenCV's bilinear filter."""
        return _in_canvas(frame, size)

    def normalise(self, frames: UInt8[np.ndarray, "*t h w 3"]) -> Float32[np.ndarray, "*t h w 3"]:
        """Subtracts VGG16's means from RGB frames, that of the canvas too, and returns BGR."""
        means = _MEANS if self.swapped_means else _MEANS[::-1]
        return np.ascontiguousarray((frames.astype(np.float32) - np.float32(means))[..., ::-1])

    def resize_density(
        self, density: Num[np.ndarray, "h w"], size: tuple[int, int]
    ) -> Float32[np.ndarray, "height width"]:
        """Resizes a density map into a canvas, as a frame; divided by 255 if any value exceeds 1."""
        return super().resize_density(_in_canvas(density.astype(np.float64), size), size)

    def fixation_map(
        self, points: Float[np.ndarray, "n 2"], plane: tuple[int, int], size: tuple[int, int]
    ) -> Float32[np.ndarray, "height width"]:
        """Builds a map of `(height, width)` with 1 at the pixels of the canvas that hold a fixation."""
        top, left, height, width = canvas_box(plane, size)
        out = np.zeros(size, np.float32)
        out[top : top + height, left : left + width] = super().fixation_map(points, plane, (height, width))
        return out

    def frame_part(self, prediction: Float[np.ndarray, "h w"], frame: tuple[int, int]) -> Float[np.ndarray, "h2 w2"]:
        """Cuts the frame out of a map of the canvas, at the map's own resolution; edges lie between its pixels."""
        top, left, height, width = canvas_box(frame, prediction.shape)
        return np.ascontiguousarray(prediction[top : top + height, left : left + width])

    def smooth(self, prediction: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "height width"]:
        """Resizes a map of the canvas until it covers `(height, width)`, cuts out the middle, blurs it (sigma 7).

        The result has the maximum 255, or is zero everywhere if the map is.
        """
        old, (height, width) = prediction.shape, size
        if height * old[1] > width * old[0]:
            cover = height, max(width, old[1] * height // old[0])
        else:
            cover = max(height, old[0] * width // old[1]), width
        scaled = _to_255(prediction.astype(np.float32))
        larger = cv2.resize(scaled, (cover[1], cover[0]), interpolation=cv2.INTER_LINEAR)
        top, left = (cover[0] - height) // 2, (cover[1] - width) // 2
        return _to_255(ndimage.gaussian_filter(larger[top : top + height, left : left + width], _SIGMA))

    def to_image(self, smoothed: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
        """Converts what `smooth` returns to bytes, truncated."""
        return smoothed.astype(np.uint8)


def canvas_box(frame: tuple[int, int], canvas: tuple[int, int]) -> tuple[int, int, int, int]:
    """Returns top, left, height and width of a frame within a canvas; all are (height, width)."""
    if frame[0] * canvas[1] > frame[1] * canvas[0]:
        height, width = canvas[0], min(canvas[1], max(1, frame[1] * canvas[0] // frame[0]))
    else:
        height, width = min(canvas[0], max(1, frame[0] * canvas[1] // frame[1])), canvas[1]
    return (canvas[0] - height) // 2, (canvas[1] - width) // 2, height, width


def _in_canvas(image: Num[np.ndarray, "h w *c"], canvas: tuple[int, int]) -> Num[np.ndarray, "height width *c"]:
    top, left, height, width = canvas_box(image.shape[:2], canvas)
    out = np.zeros((*canvas, *image.shape[2:]), image.dtype)
    out[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return out


def _to_255(values: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    high = values.max()
    return values / (high if high > 0 else 1) * np.float32(255)
