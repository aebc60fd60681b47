"""Gabor filters of the image models, and convolution by a bank of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.fft import next_fast_len

from avsd_jax.handcrafted.image.maps import replicate
from avsd_jax.handcrafted.image.pyramid import pad_reflected


@functools.cache
def toolbox_bank(angles: tuple[int | float, ...]) -> Float[np.ndarray, "angles 2 27 27"]:
    """Returns the GBVS toolbox's Gabor filters of these angles (degrees), phases 0 and 90 degrees.

    Standard deviation 2 pixels along the wave and 4 across it, period pi; each less its mean and of unit L2 norm.
    """
    half = int(np.ceil(2 * 2 * np.sqrt(10)))
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    bank = np.stack([_toolbox_filter(x, y, np.deg2rad(angle)) for angle in angles])
    bank -= bank.mean((-2, -1), keepdims=True)
    return bank / np.linalg.norm(bank, axis=(-2, -1), keepdims=True)


@functools.cache
def opencv_bank(angles: tuple[int | float, ...]) -> Float[np.ndarray, "angles 9 9"]:
    """Returns pySaliencyMap's filters: standard deviations 1.07681 along the wave and 1.13506 across it, period 3.75.

    Its printed table of 45 degrees differs in one entry, by 0.0035.
    """
    y, x = np.mgrid[-4:5, -4:5].astype(float)
    bank = []
    for angle in np.deg2rad(angles):
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        envelope = np.exp(-(along**2) / (2 * 1.07681**2) - across**2 / (2 * 1.13506**2))
        bank.append(envelope * np.cos(2 * np.pi * along / 3.75))
    return np.stack(bank)


def responses(maps: Float[Array, "b h w"], bank: Float[np.ndarray, "n k k"]) -> Float[Array, "b n h w"]:
    """Returns the correlation with each filter, borders mirrored on the outermost pixels: OpenCV's `filter2D`."""
    kernel = jnp.asarray(bank[:, None], maps.dtype)
    padded = pad_reflected(maps, bank.shape[-1] // 2)[:, None]
    return jax.lax.conv_general_dilated(padded, kernel, (1, 1), "VALID", precision=jax.lax.Precision.HIGHEST)


def energy(maps: Float[Array, "*b h w"], bank: Float[np.ndarray, "n 2 k k"]) -> Float[Array, "*b n h w"]:
    """Returns |map * even| + |map * odd| for each pair of filters without mean, borders replicated."""
    size = bank.shape[-1]
    # A filter without mean does not see the map's own, which would only cost the transform precision.
    padded = replicate(maps - jnp.mean(maps, (-2, -1), keepdims=True), size // 2)
    full = tuple(next_fast_len(side, real=True) for side in padded.shape[-2:])
    spectrum = jnp.asarray(np.fft.rfft2(bank, full), jnp.complex64)
    product = jnp.fft.rfft2(padded, full)[..., None, None, :, :] * spectrum
    # What wraps around falls on the first size - 1 rows and columns.
    height, width = maps.shape[-2:]
    response = jnp.fft.irfft2(product, full)[..., size - 1 : size - 1 + height, size - 1 : size - 1 + width]
    return jnp.sum(jnp.abs(response), -3)


def _toolbox_filter(x: np.ndarray, y: np.ndarray, angle: float) -> Float[np.ndarray, "2 k k"]:
    along = y * np.cos(angle) - x * np.sin(angle)
    across = x * np.cos(angle) + y * np.sin(angle)
    envelope = np.exp(-(along**2 / (2 * 2**2) + across**2 / (2 * 4**2)))
    return np.stack([envelope * np.cos(2 * along), envelope * np.sin(2 * along)])
