"""MATLAB's bicubic `imresize` and a Gaussian blur, each as a matrix per axis.

Both are linear and separable, so that a resize, a blur or both in sequence are two matrix products, on any
device and in any precision.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


@functools.lru_cache(maxsize=256)
def bicubic_matrix(size: int, new_size: int, scale: float | None = None) -> Float[np.ndarray, "new old"]:
    """Returns the weights of MATLAB's bicubic `imresize` along one axis, `[new_size, size]`.

    Keys' cubic with a = -1/2, half-pixel centres, widened by the scale when shrinking (antialiasing), each
    output's weights renormalised to one, indices outside mirrored with the edge repeated. `scale` is for
    `imresize` by a factor, which MATLAB keeps although it rounds the new size up.
    """
    scale = new_size / size if scale is None else scale
    widening = min(scale, 1.0)
    width = 4.0 / widening
    centre = (np.arange(1, new_size + 1) / scale + 0.5 * (1 - 1 / scale))[:, None]
    taps = np.floor(centre - width / 2) + np.arange(np.ceil(width) + 2)
    weights = _keys_cubic(widening * (centre - taps))
    weights /= weights.sum(axis=1, keepdims=True)
    return _gather(weights, taps.astype(int) - 1, size)


@functools.lru_cache(maxsize=256)
def gaussian_matrix(size: int, sigma: float) -> Float[np.ndarray, "size size"]:
    """Returns a Gaussian blur along one axis: 2 * ceil(3 sigma) + 1 taps, sum one, mirrored with the edge repeated."""
    radius = int(np.ceil(3 * sigma))
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    taps = np.arange(size)[:, None] + offsets
    return _gather(np.broadcast_to(kernel / kernel.sum(), taps.shape), taps, size)


def apply_matrices(x: Float[Array, "*b h w"], rows: np.ndarray, columns: np.ndarray) -> Float[Array, "*b H W"]:
    """Returns `rows @ x @ columns.T` for each map, in full precision on every device."""
    multiply = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    return multiply(multiply(jnp.asarray(rows, x.dtype), x), jnp.asarray(columns.T, x.dtype))


def _keys_cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0))


def _gather(weights: np.ndarray, taps: np.ndarray, size: int) -> np.ndarray:
    """Adds the weight of each tap to the column of the sample it reads; the ends are mirrored (period 2 * size)."""
    taps = np.mod(taps, 2 * size)
    taps = np.where(taps < size, taps, 2 * size - 1 - taps)
    matrix = np.zeros((len(taps), size))
    np.add.at(matrix, (np.arange(len(taps))[:, None], taps), weights)
    matrix.setflags(write=False)
    return matrix
