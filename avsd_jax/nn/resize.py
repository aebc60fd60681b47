"""Bilinear resizing of feature maps."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def upsample_2x(x: Float[Array, "b t h w c"]) -> Float[Array, "b t h2 w2 c"]:
    """Doubles height and width by half-pixel bilinear interpolation (PyTorch's `align_corners=False`)."""
    return _double(_double(x, 2), 3)


def resize_bilinear(x: Float[Array, "b h w c"], size: tuple[int, int]) -> Float[Array, "b h2 w2 c"]:
    """Resizes to `size` = (height, width) by half-pixel bilinear interpolation without antialiasing.

    PyTorch's `interpolate(mode="bilinear", align_corners=False)`.
    """
    return jax.image.resize(x, (x.shape[0], *size, x.shape[-1]), "bilinear", antialias=False)


def resize_corner(x: Float[Array, "b h w c"], size: tuple[int, int]) -> Float[Array, "b h2 w2 c"]:
    """Resizes to `size` = (height, width) as `tf.image.resize_images` of TensorFlow 1: bilinear, corners aligned.

    Output i reads position i * in / out, as if pixels were points: up to half a pixel beside `resize_bilinear`, and the
    last rows and columns are repeated.
    """
    return _at_places(x, [np.arange(n, dtype=np.float32) * np.float32(o / n) for o, n in _pairs(x, size)])


def resize_aligned(x: Float[Array, "b h w c"], size: tuple[int, int]) -> Float[Array, "b h2 w2 c"]:
    """Resizes to `size` = (height, width), bilinear, first and last pixels staying where they are.

    PyTorch's `interpolate(mode="bilinear", align_corners=True)`: output i reads position i * (in - 1) / (out - 1).
    """
    return _at_places(x, [np.linspace(0, o - 1, n, dtype=np.float64) for o, n in _pairs(x, size)])


def _pairs(x: Float[Array, "b h w c"], size: tuple[int, int]) -> list[tuple[int, int]]:
    """Returns (old, new) of height and width."""
    return list(zip(x.shape[1:3], size, strict=True))


def _at_places(x: Float[Array, "b h w c"], places: list[np.ndarray]) -> Float[Array, "b h2 w2 c"]:
    """Interpolates at every pair of a row's and a column's position."""
    rows, columns = (_matrix(old, place) for old, place in zip(x.shape[1:3], places, strict=True))
    return jnp.einsum("yh,bhwc,xw->byxc", rows.astype(x.dtype), x, columns.astype(x.dtype))


def _matrix(old: int, place: Float[np.ndarray, " new"]) -> Float[np.ndarray, "new old"]:
    new = len(place)
    low = np.minimum(np.floor(place).astype(int), old - 1)
    share = place - low
    matrix = np.zeros((new, old), np.float32)
    np.add.at(matrix, (np.arange(new), low), 1 - share)
    np.add.at(matrix, (np.arange(new), np.minimum(low + 1, old - 1)), share)
    return matrix


def _double(x: jax.Array, axis: int) -> jax.Array:
    """Doubles an axis: output 2i is 1/4 x[i-1] + 3/4 x[i], 2i+1 is 3/4 x[i] + 1/4 x[i+1]; the ends are repeated."""
    size = x.shape[axis]

    def part(start: int, stop: int) -> jax.Array:
        return jax.lax.slice_in_dim(x, start, stop, axis=axis)

    before = jnp.concatenate([part(0, 1), part(0, size - 1)], axis)
    after = jnp.concatenate([part(1, size), part(size - 1, size)], axis)
    pair = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
    return pair.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
