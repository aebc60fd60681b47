"""STAViS's preparation of frames, maps and sound.

The same numbers as the official code: everything that is seen goes through 320x240 pixels on its way to the model's
size, frames keep the range 0..255 around the mean of a video data set, and sound is treated as for ViNet, which took
it from STAViS. How its scripts made pictures of predictions is in `avsd_jax.prediction.map_writers` and
`avsd_jax.scoring.protocols`; elsewhere a map becomes a picture as ViNet's.

The option `first_filter` chooses Pillow's filter of the first step, which the official code leaves to Pillow: "bicubic"
since Pillow 7, "nearest" before; the published models most likely saw "nearest".
"""

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from avsd_jax.data.preprocessing import vinet
from avsd_jax.data.preprocessing._pillow import resize
from avsd_jax.data.preprocessing.vinet import (
    SAMPLE_RATE,
    WAVEFORM_SCALE,
    audio_samples,
    excerpt_bounds,
    excerpt_span,
    smooth,
    to_picture,
    window_audio,
)
from avsd_jax.errors import InputError

__all__ = [
    "SAMPLE_RATE",
    "FIRST_FILTERS",
    "FIRST_SIZE",
    "MEAN",
    "WAVEFORM_SCALE",
    "audio_samples",
    "excerpt_bounds",
    "excerpt_span",
    "fixation_map",
    "normalise",
    "resize_density",
    "resize_frame",
    "smooth",
    "to_picture",
    "window_audio",
]

MEAN = (114.7748, 107.7354, 99.4750)
FIRST_SIZE = (240, 320)
FIRST_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "nearest": Image.Resampling.NEAREST}


def resize_frame(
    frame: UInt8[np.ndarray, "h w 3"], size: tuple[int, int], *, first_filter: str = "bicubic"
) -> UInt8[np.ndarray, "height width 3"]:
    """Resizes an RGB frame to `(height, width)` by way of 320x240, aspect ratio not kept.

    Args:
        frame: any size.
        size: the model's.
        first_filter: a key of `FIRST_FILTERS`; the second step is Pillow's antialiased bilinear filter.

    Raises:
        InputError: an unknown filter.
    """
    return _by_way_of_first_size(frame, size, first_filter)


def normalise(frames: UInt8[np.ndarray, "*t h w 3"]) -> Float32[np.ndarray, "*t h w 3"]:
    """RGB frames minus `MEAN`, not divided by anything."""
    return frames.astype(np.float32) - np.float32(MEAN)


def resize_density(
    density: UInt8[np.ndarray, "h w"], size: tuple[int, int], *, first_filter: str = "bicubic"
) -> Float32[np.ndarray, "height width"]:
    """Resizes an 8-bit density map as a frame is, and divides it by 255.

    The official loss takes the levels themselves and divides them where that matters.

    Raises:
        InputError: an unknown filter.
    """
    return _by_way_of_first_size(density, size, first_filter).astype(np.float32) / np.float32(255)


def fixation_map(
    points: Float[np.ndarray, "n 2"], plane: tuple[int, int], size: tuple[int, int]
) -> Float32[np.ndarray, "height width"]:
    """Map of `(height, width)` with 1 at every pixel that a bilinear filter reaches from a fixation.

    A fixation becomes a patch of some ten pixels, since whatever is above zero after each of two resizings counts.

    Args:
        points: (x, y) in pixels of a plane of `plane` = (height, width), pixel centres at whole numbers.
        plane: size of the points' plane.
        size: size of the map.
    """
    hits = vinet.fixation_map(points, plane, plane)
    levels = np.where(resize(hits, FIRST_SIZE, Image.Resampling.BILINEAR) > 0, 255, 0).astype(np.uint8)
    return (resize(levels, size, Image.Resampling.BILINEAR) > 0).astype(np.float32)


def _by_way_of_first_size(picture: np.ndarray, size: tuple[int, int], first_filter: str) -> np.ndarray:
    if first_filter not in FIRST_FILTERS:
        raise InputError(f"unknown first_filter {first_filter!r}: choose one of {', '.join(FIRST_FILTERS)}")
    first = resize(picture, FIRST_SIZE, FIRST_FILTERS[first_filter])
    return resize(first, size, Image.Resampling.BILINEAR)
