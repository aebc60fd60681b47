"""Conversion of fixation lists of varying length to the maps that metrics take."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from avsd_jax.errors import InputError


def nearest_pixels(points: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, "m 2"]:
    """Returns the integer (x, y) nearest to each finite point, rounded as in `fixation_map`."""
    points = points[np.isfinite(points).all(axis=1)]
    floor = np.floor(points)
    return (floor + (points - floor >= 0.5)).astype(np.int64)


@functools.partial(jax.jit, static_argnames="size")
def fixation_map(
    points: Num[Array | np.ndarray, "*b n 2"],
    size: tuple[int, int],
    mask: Bool[Array | np.ndarray, "*b n"] | None = None,
) -> Bool[Array, "*b h w"]:
    """Marks the pixel nearest to each point; points outside of the map are ignored.

    Args:
        points: (x, y), x to the right, y downwards, pixel centres at whole numbers; lists of unequal lengths are
            padded to the same length, with any values.
        size: (height, width) of the maps.
        mask: false at the padding; None: no padding. A point that is NaN is always ignored.

    Returns:
        `[..., H, W]`, true at fixated pixels.

    Raises:
        InputError: the last axis of `points` is not (x, y), or `mask` does not fit them.
    """
    if points.shape[-1:] != (2,) or (mask is not None and mask.shape != points.shape[:-1]):
        raise InputError(
            f"points {list(points.shape)}{'' if mask is None else f', mask {list(mask.shape)}'}: give points "
            "[..., n, 2], and mask [..., n]"
        )
    points = jnp.asarray(points)
    floor = jnp.floor(points)
    nearest = floor + (points - floor >= 0.5)  # unlike a sum, a difference does not round
    inside = ((nearest >= 0) & (nearest < jnp.array([size[1], size[0]]))).all(axis=-1)  # false for NaN as well
    if mask is not None:
        inside &= mask
    column, row = (jnp.where(inside, nearest[..., i], 0).astype(jnp.int32) for i in (0, 1))
    *lead, n = inside.shape
    maps, pixels = math.prod(lead), size[0] * size[1]
    at = jnp.where(inside, row * size[1] + column, pixels).reshape(maps, n)
    marked = jnp.zeros((maps, pixels), bool).at[jnp.arange(maps)[:, None], at].set(True, mode="drop")
    return marked.reshape(*lead, *size)
