"""STAViS's preprocessing of frames, maps and audio.

The same numbers as the official code: all images are resized to 320x240 before the model's
size, frames keep the range 0..255 around the mean of a video dataset, and audio is processed as for ViNet, which took
it from STAViS. The conversion of predictions to images in its scripts is in `avsd_jax.prediction.map_writers` and
`avsd_jax.scoring.protocols`; elsewhere maps are converted as ViNet's.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from avsd_jax.data.preprocessing import vinet
from avsd_jax.data.preprocessing._pillow import resize
from avsd_jax.errors import InputError

MEAN = (114.7748, 107.7354, 99.4750)
FIRST_SIZE = (240, 320)
FIRST_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "nearest": Image.Resampling.NEAREST}


@dataclasses.dataclass(frozen=True)
class Preprocessing(vinet.Preprocessing):
    """STAViS's.

    Attributes:
        first_filter: Pillow's filter of the first resize, a key of `FIRST_FILTERS`. The official code leaves it to
            Pillow: "bicubic" since Pillow 7, "nearest" before; the published models most likely saw "nearest".
    """

    first_filter: str = "bicubic"

    def __post_init__(self):
        if self.first_filter not in FIRST_FILTERS:
            raise InputError(f"unknown first_filter {self.first_filter!r}: choose one of {', '.join(FIRST_FILTERS)}")

    def resize_frame(
        self, frame: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Resizes an RGB frame to `(height, width)` via 320x240, aspect ratio not kept."""
        return self._resize_twice(frame, size)

    def normalise(self, frames: UInt8[np.ndarray, "*t h w 3"]) -> Float32[np.ndarray, "*t h w 3"]:
        """Subtracts `MEAN` from RGB frames, without a division."""
        return frames.astype(np.float32) - np.float32(MEAN)

    def resize_density(
        self, density: UInt8[np.ndarray, "h w"], size: tuple[int, int]
    ) -> Float32[np.ndarray, "height width"]:
        """Resizes an 8-bit density map as a frame is, and divides it by 255.

        The official loss reads 0..255 and divides where that matters.
        """
        return self._resize_twice(density, size).astype(np.float32) / np.float32(255)

    def fixation_map(
        self, points: Float[np.ndarray, "n 2"], plane: tuple[int, int], size: tuple[int, int]
    ) -> Float32[np.ndarray, "height width"]:
        """Builds a map of `(height, width)` with 1 at every pixel that a bilinear filter reaches from a fixation.

        A fixation becomes a patch of some ten pixels, since whatever is above zero after each of two resizes counts.
        Arguments as in ViNet's.
        """
        hits = super().fixation_map(points, plane, plane)
        levels = np.where(resize(hits, FIRST_SIZE, Image.Resampling.BILINEAR) > 0, 255, 0).astype(np.uint8)
        return (resize(levels, size, Image.Resampling.BILINEAR) > 0).astype(np.float32)

    def _resize_twice(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Resizes via 320x240; the second step is Pillow's antialiased bilinear filter."""
        first = resize(image, FIRST_SIZE, FIRST_FILTERS[self.first_filter])
        return resize(first, size, Image.Resampling.BILINEAR)
