"""A large learned kernel on a map that was enlarged by repeating pixels, as a small convolution before it is."""

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.conv_gradient import conv_by_taps


class RepeatedSmoothing(nn.Module):
    """Enlarges a map by repeating pixels and convolves it with one kernel, the edge's pixels repeated around it.

    The pixels of an enlarged block see the same few pixels of the small map, each with sums of the kernel's entries: a
    small convolution with a channel for each pixel of a block, a thirtieth of the work.

    Attributes:
        factor: of the enlargement.
        size: of the kernel, odd.
    """

    factor: int = 8
    size: int = 41

    @nn.compact
    def __call__(self, maps: Float[Array, "n h w"]) -> Float[Array, "n h2 w2"]:
        """Returns the maps, `factor` times as large."""
        kernel = self.param("kernel", _gaussian, (self.size, self.size, 1, 1))
        sums = _sums(self.factor, self.size)
        small = jnp.einsum("qrk,kl,psl->qprs", sums, kernel[..., 0, 0], sums, precision="highest")
        taps, factor = len(sums), self.factor
        small = small.reshape(taps, taps, 1, factor * factor).astype(maps.dtype)
        edge = taps // 2
        padded = jnp.pad(maps, [(0, 0), (edge, edge), (edge, edge)], mode="edge")
        n, h, w = maps.shape
        phases = conv_by_taps(padded[..., None], small, (0, 0)).reshape(n, h, w, factor, factor)
        return phases.transpose(0, 1, 3, 2, 4).reshape(n, h * factor, w * factor)


def _sums(factor: int, size: int) -> Float[np.ndarray, "q r k"]:
    """Returns 1 where entry k of the kernel, of row r of a block, meets pixel q of the small map."""
    first = -(-(size // 2) // factor)
    met = (np.arange(factor)[:, None] + np.arange(size) - size // 2) // factor + first
    return (met == np.arange(2 * first + 1)[:, None, None]).astype(np.float32)


def _gaussian(key: Array, shape: tuple[int, ...], dtype: type = jnp.float32) -> Float[Array, "k k 1 1"]:
    """Returns a Gaussian of sum 1, whose standard deviation is e^-2 of the kernel's width."""
    del key
    curve = np.exp(-((np.linspace(0, 1, shape[0]) - 0.5) ** 2) / (2 * np.exp(-4)))
    return jnp.asarray(curve[:, None] * curve / curve.sum() ** 2, dtype)[..., None, None]
