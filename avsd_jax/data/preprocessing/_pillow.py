"""Pillow's resize, with the same pixels in every version."""

import numpy as np
from jaxtyping import Num
from PIL import Image


def resize(
    image: Num[np.ndarray, "h w *c"], size: tuple[int, int], resampling: Image.Resampling
) -> Num[np.ndarray, "height width *c"]:
    """Resizes an 8-bit RGB or grey image, or a float32 plane, to `(height, width)`; antialiased when shrinking.

    PIL rounds to 8 bits between its two passes, and Pillow 13 changed their order. Here width comes first, as
    in all Pillows before, except where the height shrinks and the width grows: the same pixels in every
    version.
    """
    h, w = image.shape[:2]
    height, width = size
    if (h, w) == (height, width):
        return image
    passes = [(w, height), (width, height)] if height < h and width > w else [(width, h), (width, height)]
    resized = Image.fromarray(image)
    for step in passes:
        resized = resized.resize(step, resampling)
    return np.asarray(resized)
