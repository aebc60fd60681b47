"""UNISAL's preprocessing: frames by Pillow's Lanczos filter, maps divided by their largest value."""

import dataclasses

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from avsd_jax.data.preprocessing import imagenet
from avsd_jax.data.preprocessing._pillow import resize

# Of the datasets of which all videos are read at one size, whatever theirs, by domain.
SIZES = {"Hollywood": (224, 416), "UCFSports": (256, 384)}
# The only size that videos of DHF1K have.
_DHF1K_SOURCE, _DHF1K_SIZE = (360, 640), (224, 384)

_IMAGES = "SALICON"
_STRIDE = 32
_SIDES = range(7, 14)
_LEAST, _MOST = 100, 120


@dataclasses.dataclass(frozen=True)
class Preprocessing(imagenet.Preprocessing):
    """That of the released code.

    Attributes:
        domain: the size at which a video is predicted is that of this domain, see `input_size`; "" for the configured
            one.
    """

    domain: str = "DHF1K"

    def resize_frame(
        self, frame: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Resizes an RGB frame to `(height, width)`, aspect ratio not kept, by PIL's antialiased Lanczos filter."""
        return resize(frame, size, Image.Resampling.LANCZOS)

    def input_size(self, source: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
        """Returns the size of the domain for frames of `source`; `size` without a domain."""
        return input_size(source, self.domain) if self.domain else size

    def of_pictures(self) -> "Preprocessing":
        """Returns that of the domain of images."""
        return dataclasses.replace(self, domain=_IMAGES) if self.domain else self

    def to_image(self, smoothed: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
        """Scales a map so that its largest value is 255, truncated."""
        high = smoothed.max()
        return (smoothed * (255 / high if high > 0 else 0)).astype(np.uint8)


def input_size(source: tuple[int, int], domain: str = "DHF1K") -> tuple[int, int]:
    """Returns the (height, width) at which UNISAL reads frames of `source` = (height, width).

    The datasets of its training have sizes of their own. Any other video or image gets the size whose ratio of the
    sides is nearest to its own, among those with sides of 7 to 13 times 32 and 100 to 120 times 32 x 32 pixels.
    """
    if domain == "DHF1K" and tuple(source) == _DHF1K_SOURCE:
        return _DHF1K_SIZE
    if domain in SIZES:
        return SIZES[domain]
    ratio = source[0] / source[1]
    pairs = [(rows, columns) for rows in _SIDES for columns in _SIDES if _LEAST <= rows * columns <= _MOST]
    rows, columns = min(pairs, key=lambda pair: abs(pair[0] / pair[1] - ratio))
    return rows * _STRIDE, columns * _STRIDE
