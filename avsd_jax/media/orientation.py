"""The eight display orientations of a file: rotations by multiples of 90 degrees, mirrored or not."""

from typing import NamedTuple

import av
import numpy as np
from jaxtyping import Shaped


class Orientation(NamedTuple):
    """Operations on a decoded image, in this order.

    Attributes:
        transpose: swap rows and columns.
        flip_x: mirror left to right.
        flip_y: mirror top to bottom.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, image: Shaped[np.ndarray, "h w *c"]) -> Shaped[np.ndarray, "height width *c"]:
        """Returns the image as it is displayed."""
        image = image.swapaxes(0, 1) if self.transpose else image
        image = image[:, ::-1] if self.flip_x else image
        return np.ascontiguousarray(image[::-1] if self.flip_y else image)


def orientation(frame: av.VideoFrame) -> Orientation:
    """Reads a frame's display matrix.

    The matrix [[a, b], [c, d]] maps pixel (x, y) to (a x + c y, b x + d y), y pointing down (ISO/IEC 14496-12,
    6.2.2). Other angles are rounded to the nearest multiple of 90 degrees.
    """
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return Orientation()
    a, b, _, c, d = (int(value) for value in np.frombuffer(side_data, np.int32)[:5])
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transpose=True, flip_x=c < 0, flip_y=b < 0)
    return Orientation(flip_x=a < 0, flip_y=d < 0)
