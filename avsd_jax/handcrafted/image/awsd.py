"""Adaptive whitening saliency of images and short clips, with constants of our own.

After Garcia-Diaz et al., "Saliency from hierarchical adaptation through decorrelation and variance normalization",
Image and Vision Computing 2012 (AWS), and Leboran et al., "Dynamic whitening saliency", PAMI 2017 (AWS-D), whose
programs are published in a protected form only. What is done here is what the papers describe; numbers are not
theirs, and parity with AWS-D cannot be claimed.

    RGB ── Lab ── whitened colours ── log-Gabor energies ── whitened over scales ── |.|^2 ── sum ── saliency

The filters are spatio-temporal: of a clip, they find what moves unlike the rest; of one frame, they are AWS's.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.fft import next_fast_len

from avsd_jax.handcrafted.image.maps import (
    Images,
    blur,
    fade_borders,
    flat_batch,
    min_max,
    resize_bicubic,
    small_size,
    unflatten,
)
from avsd_jax.handcrafted.image.whitening import distinctness, whiten

# From linear RGB (sRGB's primaries) to XYZ relative to its white, D65.
XYZ = np.array(
    ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
)
# Colours of a smaller variance (Lab, of 100 units) and energies of whitened colours are rounding.
COLOUR_NOISE, ENERGY_NOISE = 1e-4, 1e-10


@dataclasses.dataclass(frozen=True)
class Options:
    """Our constants.

    Attributes:
        map_size: the longest side at which the image is analysed, pixels; smaller images are not enlarged.
        scales: numbers of scales of the strongest whitened colour, mostly lightness, and of the two others.
        wavelength: the shortest one, pixels; scales are an octave apart.
        bandwidth: ratio of a filter's radial standard deviation (of the logarithm) to its frequency.
        angular_sigma: standard deviation of the angle to a filter's direction, degrees.
        smoothing: standard deviation of the final blur, fraction of the longest side.
    """

    map_size: int = 128
    scales: tuple[int, int, int] = (5, 4, 4)
    wavelength: float = 6.0
    bandwidth: float = 0.55
    angular_sigma: float = 37.5
    smoothing: float = 0.02


def awsd(clips: Images, options: Options = Options()) -> dict[str, Array]:
    """Returns the saliency of the last frame of clips [*b, t, h, w, 3] of any size, RGB in [0, 1] or bytes.

    Returns `saliency` [*b, h, w] in [0, 1], and `master` [*b, h2, w2], a density that sums to one.
    """
    *batch, frames, height, width, _ = clips.shape
    flat = flat_batch(clips).reshape(-1, frames, 3, height, width)
    return unflatten(_awsd(flat, options), tuple(batch))


@functools.partial(jax.jit, static_argnames="options")
def _awsd(clips: Float[Array, "b t 3 h w"], options: Options) -> dict[str, Array]:
    height, width = clips.shape[-2:]
    size = small_size(height, width, min(options.map_size, max(height, width)))
    small = resize_bicubic(clips, size)
    batch, frames = clips.shape[:2]
    colours = jnp.moveaxis(lab(jnp.clip(small, 0, 1)), 2, -1).reshape(batch, -1, 3)
    colours = whiten(colours, COLOUR_NOISE).reshape(batch, frames, *size, 3)
    total = jnp.zeros((batch, *size))
    for colour, scales in enumerate(options.scales):
        energies = _energies(colours[..., colour], scales, options)
        vectors = energies.reshape(batch, energies.shape[1], scales, -1).mT
        total += jnp.sum(distinctness(vectors, ENERGY_NOISE), 1).reshape(batch, *size)
    # What the filters see beyond the border is a mirror image.
    total = blur(fade_borders(total, round(options.wavelength)), options.smoothing * max(size))
    mass = jnp.sum(total, (-2, -1), keepdims=True)
    master = jnp.where(mass > 0, total / jnp.where(mass > 0, mass, 1), 1 / (size[0] * size[1]))
    return {"saliency": min_max(resize_bicubic(min_max(master), (height, width))), "master": master}


def lab(rgb: Float[Array, "*b 3 h w"]) -> Float[Array, "*b 3 h w"]:
    """Converts sRGB in [0, 1] to CIE Lab of D65: L 0..100, a and b about -100..100."""
    linear = jnp.where(rgb <= 0.04045, rgb / 12.92, ((jnp.maximum(rgb, 0.04045) + 0.055) / 1.055) ** 2.4)
    weights = jnp.asarray(XYZ / XYZ.sum(1, keepdims=True), rgb.dtype)
    x, y, z = (_lightness(sum(weights[k, c] * linear[..., c, :, :] for c in range(3))) for k in range(3))
    return jnp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -3)


def _lightness(ratio: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    corner = 6 / 29
    return jnp.where(ratio > corner**3, jnp.cbrt(jnp.maximum(ratio, corner**3)), ratio / (3 * corner**2) + 4 / 29)


def _energies(clip: Float[Array, "b t h w"], scales: int, options: Options) -> Float[Array, "b directions scales h w"]:
    """Returns the moduli of the log-Gabor filters' responses at the last frame."""
    frames, height, width = clip.shape[-3:]
    (before, after), rows, columns = _padding(frames, height, width, options)
    padded = jnp.pad(clip, ((0, 0), (before, after), (0, 0), (0, 0)), mode="edge")
    padded = jnp.pad(padded, ((0, 0), (0, 0), rows, columns), mode="symmetric")
    radial, angular = _filters(padded.shape[-3:], scales, options)
    # Of the inverse transform over time the last frame alone is needed: a sum.
    moment = np.exp(2j * np.pi * np.fft.fftfreq(padded.shape[1]) * (before + frames - 1)) / padded.shape[1]
    spectrum = jnp.fft.fftn(padded, axes=(-3, -2, -1)) * jnp.asarray(moment[:, None, None], jnp.complex64)
    radial = jnp.asarray(radial, jnp.float32)

    def energy(direction: Float[Array, "t2 h2 w2"]) -> Float[Array, "b s h w"]:
        # Plain sums, not a matrix product: those are rounded more coarsely on accelerators.
        at_moment = jnp.sum((spectrum * direction)[:, None] * radial, 2)
        response = jnp.fft.ifft2(at_moment)
        return jnp.abs(response[..., rows[0] : rows[0] + height, columns[0] : columns[0] + width])

    return jnp.moveaxis(jax.lax.map(energy, jnp.asarray(angular, jnp.float32)), 0, 1)


def _padding(frames: int, height: int, width: int, options: Options) -> tuple[tuple[int, int], ...]:
    """Returns how far each axis is padded at both ends, to lengths of which transforms are fast.

    The transform is periodic; the clip is not. A single frame has no time.
    """
    reach = round(2 * options.wavelength)
    whole = (1 if frames == 1 else 2 * frames, *(next_fast_len(side + 2 * reach) for side in (height, width)))
    spare = [total - side for total, side in zip(whole, (frames, height, width), strict=True)]
    return tuple((n // 2, n - n // 2) for n in spare)


@functools.lru_cache(maxsize=16)
def _filters(
    shape: tuple[int, int, int], scales: int, options: Options
) -> tuple[Float[np.ndarray, "s t h w"], Float[np.ndarray, "d t h w"]]:
    """Returns the radial parts (by scale) and the angular parts (by direction) of the filters' transfer functions.

    Directions are four orientations in the image, at rest and, of a clip, also moving by a pixel per frame either way,
    and flicker without any orientation.
    """
    time, y, x = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    radius = np.sqrt(time**2 + y**2 + x**2)
    safe = np.where(radius > 0, radius, 1)
    centres = 1 / (options.wavelength * 2.0 ** np.arange(scales))
    spread = 2 * np.log(options.bandwidth) ** 2
    radial = [np.where(radius > 0, np.exp(-(np.log(safe / centre) ** 2) / spread), 0) for centre in centres]
    angular = []
    for azimuth, elevation in _directions(moving=shape[0] > 1):
        along = np.cos(elevation) * (np.cos(azimuth) * x + np.sin(azimuth) * y) + np.sin(elevation) * time
        angle = np.arccos(np.clip(along / safe, -1, 1))
        angular.append(np.exp(-(angle**2) / (2 * np.deg2rad(options.angular_sigma) ** 2)))
    return np.stack(radial), np.stack(angular)


def _directions(moving: bool) -> list[tuple[float, float]]:
    """Returns the azimuth in the image's plane and the elevation out of it towards time, radians."""
    azimuths = np.deg2rad((0, 45, 90, 135))
    elevations = np.deg2rad((0, 45, -45)) if moving else (0.0,)
    flicker = [(0.0, np.pi / 2)] if moving else []
    return [(azimuth, elevation) for elevation in elevations for azimuth in azimuths] + flicker
