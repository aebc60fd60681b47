"""Frames that are stored smaller than their video's."""

import cv2
from jaxtyping import UInt8
from numpy import ndarray


def reduced(size: tuple[int, int], short_side: int | None) -> tuple[int, int]:
    """Returns (height, width) with a shorter side of `short_side` pixels; never enlarged. None: unchanged."""
    scale = min(1.0, (short_side or min(size)) / min(size))
    return round(size[0] * scale), round(size[1] * scale)


def resized(image: UInt8[ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[ndarray, "height width 3"]:
    """Returns the image at that size, by means of the pixels that become one."""
    return image if image.shape[:2] == size else cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
