"""Image pyramids: the GBVS toolbox's and OpenCV's, with every map halved by a separable low-pass filter."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from avsd_jax.handcrafted.image.maps import reflected, take_2d

TAPS = (1, 5, 10, 10, 5, 1)
# The toolbox stops at maps of this side.
SMALLEST = 10


def halve(maps: Float[Array, "*b h w"]) -> Float[Array, "*b h2 w2"]:
    """Halves both axes by [1 5 10 10 5 1]/32, output i between samples 2i and 2i + 1, the length rounded down.

    Taps outside are left out and the others renormalised. A map with a side of at most 10 is returned as it is.
    """
    if min(maps.shape[-2:]) <= SMALLEST:
        return maps
    return _halve_last(_halve_last(maps).mT).mT


def levels(maps: Float[Array, "*b h w"], count: int) -> list[Float[Array, "*b _ _"]]:
    """Returns the map and `count` halvings of it: entry l has 2^-l of its size, unless it became too small."""
    pyramid = [maps]
    for _ in range(count):
        pyramid.append(halve(pyramid[-1]))
    return pyramid


def pyr_down(maps: Float[Array, "*b h w"]) -> Float[Array, "*b h2 w2"]:
    """Halves both axes by [1 4 6 4 1]/16, centred on the even samples, the length rounded up: OpenCV's `pyrDown`."""
    for _ in range(2):
        side = maps.shape[-1]
        padded = jnp.take(maps, reflected(side, 2, 2), axis=-1)
        ahead = [jax.lax.slice_in_dim(padded, k, k + side, 2, -1) for k in range(5)]
        maps = ((ahead[0] + ahead[4] + 4 * (ahead[1] + ahead[3]) + 6 * ahead[2]) / 16).mT
    return maps


def opencv_levels(maps: Float[Array, "*b h w"], count: int) -> list[Float[Array, "*b _ _"]]:
    """Returns the map and `count` halvings of it by `pyr_down`."""
    pyramid = [maps]
    for _ in range(count):
        pyramid.append(pyr_down(pyramid[-1]))
    return pyramid


def pad_reflected(maps: Float[Array, "*b h w"], width: int) -> Float[Array, "*b h2 w2"]:
    """Pads all four borders as OpenCV's filters do."""
    height, length = maps.shape[-2:]
    return take_2d(maps, reflected(height, width, width), reflected(length, width, width))


def _halve_last(maps: Float[Array, "*b h w"]) -> Float[Array, "*b h w2"]:
    side = maps.shape[-1]
    half = side // 2
    padded = jnp.pad(maps, [(0, 0)] * (maps.ndim - 1) + [(2, 3)])
    inside = np.pad(np.ones(side), (2, 3))
    present = [inside[k : k + 2 * half : 2] for k in range(len(TAPS))]
    parts = [jax.lax.slice_in_dim(padded, k, k + 2 * half, 2, -1) for k in range(len(TAPS))]
    centre = (parts[2] + parts[3]) / 2
    total = sum(tap * there for tap, there in zip(TAPS, present, strict=True))
    # As what differs from the centre, so that even areas keep their value to the last bit, as in the toolbox.
    rest = sum(
        jnp.asarray(tap * there / total, maps.dtype) * (part - centre)
        for tap, there, part in zip(TAPS, present, parts, strict=True)
    )
    return centre + rest
