"""What the image models share about maps: their range, borders, resizing and the shapes of a batch."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from avsd_jax.metrics.resize import apply_matrices, bicubic_matrix

# Features of images in [0, 1] reach about 1; single precision leaves less than that where there is nothing to see.
ROUNDING = 2e-6

Images = Float[Array | np.ndarray, "*b h w 3"] | UInt8[Array | np.ndarray, "*b h w 3"]


def unit_float(images: Images) -> Float[Array, "*b h w 3"]:
    """Returns images as float32 in [0, 1]: bytes are divided by 255, floats kept; what is not a number becomes 0."""
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255
    return jnp.nan_to_num(images.astype(jnp.float32), nan=0.0, posinf=1.0, neginf=0.0)


def flat_batch(images: Images) -> Float[Array, "n 3 h w"]:
    """Returns images in [0, 1] with one leading axis, and the channels in front of the map.

    The latter is where every function of this room has them.
    """
    return jnp.moveaxis(unit_float(jnp.asarray(images)), -1, -3).reshape(-1, 3, *images.shape[-3:-1])


def unflatten(maps: Any, batch: tuple[int, ...]) -> Any:
    """Splits the leading axis of each map of a tree [n, h, w] into the axes of a batch."""
    return jax.tree.map(lambda of_all: of_all.reshape(*batch, *of_all.shape[-2:]), maps)


def min_max(maps: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    """Shifts and scales every map to [0, 1]; a constant one becomes 0."""
    low, high = jnp.min(maps, (-2, -1), keepdims=True), jnp.max(maps, (-2, -1), keepdims=True)
    scaled = jnp.where(high > low, (maps - low) / jnp.where(high > low, high - low, 1), 0)
    # A compiler that multiplies and adds in one step may leave the range by a rounding.
    return jnp.clip(scaled, 0, 1)


def resize_bicubic(maps: Float[Array, "*b h w"], size: tuple[int, int]) -> Float[Array, "*b h2 w2"]:
    """Resizes by MATLAB's bicubic `imresize` with antialiasing; `size` = (height, width)."""
    if maps.shape[-2:] == size:
        return maps
    return apply_matrices(maps, bicubic_matrix(maps.shape[-2], size[0]), bicubic_matrix(maps.shape[-1], size[1]))


def resize_linear(maps: Float[Array, "*b h w"], size: tuple[int, int]) -> Float[Array, "*b h2 w2"]:
    """Enlarges by half-pixel bilinear interpolation, borders replicated: OpenCV's `INTER_LINEAR`."""
    return jax.image.resize(maps, (*maps.shape[:-2], *size), "bilinear", antialias=False)


def small_size(height: int, width: int, longest: int) -> tuple[int, int]:
    """Returns height and width of a map whose longest side is given, rounded as the GBVS toolbox does, at least 1."""
    scale = longest / max(height, width)
    # Halves are rounded up, as MATLAB does.
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def fade_borders(maps: Float[Array, "*b h w"], width: int) -> Float[Array, "*b h w"]:
    """Multiplies the `width` pixels along each border by k / (width + 1), k counted from the border.

    Where the shorter side has less than twice the width, both fade over half of that side: the GBVS toolbox's rule.
    """
    width = min(width, min(maps.shape[-2:]) // 2)
    rows, columns = (_fade(side, width) for side in maps.shape[-2:])
    return maps * jnp.asarray(rows[:, None] * columns, maps.dtype)


def blur(maps: Float[Array, "*b h w"], sigma: float, cut: float = 2.0) -> Float[Array, "*b h w"]:
    """Blurs by a Gaussian of `sigma` pixels, cut off at round(cut * sigma), borders replicated."""
    rows, columns = (_blur_matrix(side, sigma, cut) for side in maps.shape[-2:])
    return apply_matrices(maps, rows, columns)


def bilateral(
    maps: Float[Array, "*b h w"], radius: int, sigma_value: float, sigma_space: float
) -> Float[Array, "*b h w"]:
    """Returns the means over a disc, weighted by Gaussians of the distance and of the difference in value.

    OpenCV's `bilateralFilter` of diameter 2 radius + 1, borders mirrored on the outermost pixels.
    """
    height, width = maps.shape[-2:]
    padded = take_2d(maps, reflected(height, radius, radius), reflected(width, radius, radius))
    total, weights = jnp.zeros_like(maps), jnp.zeros_like(maps)
    for y, x in np.ndindex(2 * radius + 1, 2 * radius + 1):
        squared = (y - radius) ** 2 + (x - radius) ** 2
        if squared <= radius**2:
            other = padded[..., y : y + height, x : x + width]
            weight = jnp.exp(-((other - maps) ** 2) / (2 * sigma_value**2) - squared / (2 * sigma_space**2))
            total, weights = total + weight * other, weights + weight
    return total / weights


def logits_of(saliency: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    """Returns log(s / (1 - s)) of a map in [0, 1], kept within 1e-4 of its ends, so that it is finite."""
    kept = jnp.clip(saliency, 1e-4, 1 - 1e-4)
    return jnp.log(kept) - jnp.log1p(-kept)


def take_2d(
    maps: Float[Array, "*b h w"], rows: np.ndarray | jax.Array, columns: np.ndarray | jax.Array
) -> Float[Array, "*b h2 w2"]:
    """Returns the rows and columns of these indices: padding by any rule."""
    return jnp.take(jnp.take(maps, rows, axis=-2), columns, axis=-1)


def replicate(maps: Float[Array, "*b h w"], width: int) -> Float[Array, "*b h2 w2"]:
    """Pads all four borders by `width` repetitions of the outermost pixels."""
    return jnp.pad(maps, [(0, 0)] * (maps.ndim - 2) + [(width, width)] * 2, mode="edge")


def reflected(size: int, before: int, after: int) -> np.ndarray:
    """Returns the indices of an axis padded by OpenCV's default, a mirror on the outermost pixel (reflect-101)."""
    index = np.arange(-before, size + after)
    if size == 1:
        return np.zeros_like(index)
    index = np.mod(index, 2 * size - 2)
    return np.where(index < size, index, 2 * size - 2 - index)


def _fade(side: int, width: int) -> np.ndarray:
    return np.minimum(1.0, np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)) / (width + 1))


def _blur_matrix(side: int, sigma: float, cut: float) -> np.ndarray:
    reach = int(cut * sigma + 0.5)  # halves are rounded up, as MATLAB does
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    matrix = np.zeros((side, side))
    taps = np.clip(np.arange(side)[:, None] + offsets, 0, side - 1)
    np.add.at(matrix, (np.arange(side)[:, None], taps), kernel / kernel.sum())
    return matrix
