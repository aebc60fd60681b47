"""The model of Itti, Koch and Niebur (PAMI 1998), in two of its public variants, which give different maps.

    RGB ── pyramid ── colour, intensity, orientation ── centre minus surround ── N(.) ── sum ── saliency

N(.) promotes maps with a few strong peaks. `toolbox` is `ittikochmap` of the GBVS toolbox, which most papers on
fixations compare with; `opencv` is pySaliencyMap, on OpenCV's pyramid.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from avsd_jax.handcrafted.image import features, gabor, pyramid
from avsd_jax.handcrafted.image.maps import (
    ROUNDING,
    Images,
    bilateral,
    blur,
    fade_borders,
    flat_batch,
    min_max,
    resize_bicubic,
    resize_linear,
    small_size,
    unflatten,
)

ANGLES = (0, 45, 90, 135)
# Levels of the toolbox's centres; a surround is two levels coarser.
CENTRES, SURROUND = (2, 3), 2
# N(.) of the toolbox scales a map to 0..TOP and counts local maxima of 1 or more.
TOP = 10.0
# pySaliencyMap: centres, how much coarser the surrounds are, sides of the blocks of N(.), weights of the channels.
OPENCV_CENTRES, OPENCV_SURROUNDS = (2, 3, 4), (3, 4)
BLOCK = 16
WEIGHTS = {"intensity": 0.3, "colour": 0.3, "orientation": 0.2}


def toolbox(images: Images) -> dict[str, Array | dict[str, Array]]:
    """Returns the saliency of images of any size, RGB in [0, 1] or bytes, as the GBVS toolbox's `ittikochmap`.

    Returns `saliency` [*b, h, w], `master` [*b, h2, w2], an eighth of it, and `channels`, a dictionary of maps
    [*b, h2, w2]: colour, intensity, orientation; each map from 0 to 1.
    """
    return unflatten(_toolbox(flat_batch(images)), images.shape[:-3])


def opencv(images: Images) -> dict[str, Array | dict[str, Array]]:
    """Returns the saliency of images of any size, RGB in [0, 1] or bytes, as pySaliencyMap's for single images.

    Returns `saliency` [*b, h, w] in [0, 1] and `channels`, a dictionary of conspicuity maps [*b, h, w] in units of
    pySaliencyMap: intensity, colour, orientation. Its fourth channel, motion by Farneback's optical flow, is left out:
    for one image it is zero. Blocks are smaller than its 16 pixels where a map is not larger than that: there it
    divides by zero.
    """
    return unflatten(_opencv(flat_batch(images)), images.shape[:-3])


@jax.jit
def _toolbox(images: Float[Array, "b 3 h w"]) -> dict[str, Array | dict[str, Array]]:
    height, width = images.shape[-2:]
    size = small_size(height, width, max(1, int(max(height, width) / 8 + 0.5)))
    levels = pyramid.levels(features.with_lightness(images), max(CENTRES) + SURROUND)[min(CENTRES) :]
    maps = {
        "colour": [features.colour(level) for level in levels],
        "intensity": [features.intensity(level) for level in levels],
        "orientation": [features.orientation(level, ANGLES) for level in levels],
    }
    channels = {name: _conspicuity(of_levels, size) for name, of_levels in maps.items()}
    master = min_max(fade_borders(sum(channels.values()), 4))
    master = min_max(blur(master, 0.03 * max(size)))
    return {
        "saliency": min_max(resize_bicubic(master, (height, width))),
        "master": master,
        "channels": {name: min_max(found) for name, found in channels.items()},
    }


def _conspicuity(levels: Sequence[Float[Array, "b n _ _"]], size: tuple[int, int]) -> Float[Array, "b h w"]:
    """Sums the normalised squares of centre minus surround over levels and types of a channel, normalised again."""
    total = 0
    for centre, surround in zip(levels, levels[SURROUND:], strict=False):
        difference = _seen(centre - resize_bicubic(surround, centre.shape[-2:])) ** 2
        total += jnp.sum(promote_peaks(resize_bicubic(difference, size)), 1)
    return promote_peaks(total)


def promote_peaks(maps: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    """Scales each map to 0..10, then by (10 - mean of its local maxima)^2: the toolbox's N(.).

    Maxima are inner pixels of 1 or more that are not below their four neighbours; a single one counts as 0 in the
    mean, and a map without any keeps its range.
    """
    maps = TOP * min_max(maps)
    inner = maps[..., 1:-1, 1:-1]
    around = (maps[..., :-2, 1:-1], maps[..., 2:, 1:-1], maps[..., 1:-1, :-2], maps[..., 1:-1, 2:])
    peak = functools.reduce(jnp.logical_and, (inner >= other for other in around), inner >= 1)
    count = jnp.sum(peak, (-2, -1), keepdims=True)
    mean = jnp.sum(jnp.where(peak, inner, 0), (-2, -1), keepdims=True) / jnp.maximum(count, 1)
    return maps * jnp.where(count > 1, (TOP - mean) ** 2, jnp.where(count == 1, TOP**2, 1))


@jax.jit
def _opencv(images: Float[Array, "b 3 h w"]) -> dict[str, Array | dict[str, Array]]:
    size = images.shape[-2:]
    red, green, blue = images[:, 0], images[:, 1], images[:, 2]
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    top = jnp.max(images, 1)
    top = jnp.where(top > 0, top, 1e-4)
    opponents = jnp.maximum(jnp.stack([red - green, blue - jnp.minimum(red, green)], 1) / top[:, None], 0)
    # Grey and the two colours share a pyramid.
    levels = pyramid.opencv_levels(jnp.concatenate([grey[:, None], opponents], 1), 8)
    bank = gabor.opencv_bank(ANGLES)
    oriented = {s: gabor.responses(levels[s][:, 0], bank) for s in range(2, 9)}
    plain = _opencv_conspicuity(dict(enumerate(levels)), size)
    channels = {
        "intensity": plain[:, 0],
        "colour": plain[:, 1] + plain[:, 2],
        "orientation": jnp.sum(promote_blocks(_opencv_conspicuity(oriented, size)), 1),
    }
    total = min_max(sum(WEIGHTS[name] * found for name, found in channels.items()))
    smooth = bilateral(total, radius=3, sigma_value=3.0, sigma_space=1.55)
    return {"saliency": jnp.clip(smooth, 0, 1), "channels": channels}


def _opencv_conspicuity(levels: dict[int, Float[Array, "b n _ _"]], size: tuple[int, int]) -> Float[Array, "b n h w"]:
    """Sums the normalised |centre - surround| of all pairs of levels at the image's size."""
    total = 0
    for s in OPENCV_CENTRES:
        centre = levels[s]
        differences = [_seen(centre - resize_linear(levels[s + d], centre.shape[-2:])) for d in OPENCV_SURROUNDS]
        # Enlarging is linear: it comes once, after the sum.
        total += resize_linear(sum(promote_blocks(jnp.abs(difference)) for difference in differences), size)
    return total


def promote_blocks(maps: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    """Scales each map to 0..1, then by (1 - mean of the maxima of its blocks)^2: pySaliencyMap's N(.).

    Blocks of 16 pixels a side from the upper left corner, without the last one that would end at the border. On maps of
    at most 16 pixels blocks are of (side - 1) / 2, at least two in a row, and a map without any block keeps its range.
    """
    maps = min_max(maps)
    *batch, height, width = maps.shape
    (rows, tall), (columns, wide) = _blocks(height), _blocks(width)
    if not rows or not columns:
        return maps
    blocks = maps[..., : rows * tall, : columns * wide].reshape(*batch, rows, tall, columns, wide)
    mean = jnp.mean(jnp.max(blocks, (-3, -1)), (-2, -1))
    return maps * ((1 - mean) ** 2)[..., None, None]


def _blocks(side: int) -> tuple[int, int]:
    """Returns the number of blocks along a side, and their length."""
    length = BLOCK if side > BLOCK else max(1, (side - 1) // 2)
    return len(np.arange(0, side - length, length)), length


def _seen(differences: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    """Returns differences without those that rounding explains, which N(.) would blow up on an even image."""
    return jnp.where(jnp.abs(differences) > ROUNDING, differences, 0)
