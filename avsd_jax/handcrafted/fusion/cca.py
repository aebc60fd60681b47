"""Canonical correlations of visual features with audio features (survey, III.D and IV.B, [105, 106, 142])."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.normalise import as_float, centred


class CCA(NamedTuple):
    """Canonical correlations in decreasing order, and the directions of the two sides that have them.

    K = min(p, q); a direction w has w' (C + ridge I) w = 1.
    """

    correlations: Float[Array, "*b k"]
    wx: Float[Array, "*b p k"]
    wy: Float[Array, "*b q k"]


def cca(x: Num[Array | np.ndarray, "*#b t p"], y: Num[Array | np.ndarray, "*#b t q"], ridge: float | int = 0.0) -> CCA:
    """Computes canonical correlations, and their directions.

    The features' means are removed. Constant features, and those that depend linearly on others, have no part in it:
    covariances are inverted on the space that they span.

    Args:
        x: p features of T frames; its leading axes and those of y are broadcast.
        y: q features of the same frames.
        ridge: added to the diagonal of both covariances, in the features' own units squared.

    Raises:
        InputError: T <= p + q and no ridge: the correlations of any data would be 1. Or a negative ridge.
    """
    x, y = as_float(x, y)
    check_frames(x.shape[-2], x.shape[-1] + y.shape[-1], ridge)
    (x, scale_x), (y, scale_y) = _scaled(x, ridge), _scaled(y, ridge)
    frames = x.shape[-2]
    root_x, root_y = (_inverse_root(_product(z, z) / frames, ridge) for z in (x, y))
    u, rho, v = jnp.linalg.svd(_matmul(_matmul(root_x, _product(x, y) / frames), root_y), full_matrices=False)
    return CCA(jnp.clip(rho, 0, 1), _matmul(root_x, u) / scale_x, _matmul(root_y, v.mT) / scale_y)


def _scaled(x: Float[Array, "*b t p"], ridge: float | int) -> tuple[Float[Array, "*b t p"], Float[Array, "*b p 1"]]:
    """Returns centred features, and what they were divided by: their deviation, unless a ridge refers to their units.

    Without a ridge the units make no difference, except that small numbers beside large ones would be lost.
    """
    x = centred(x)
    deviation = jnp.std(x, -2, keepdims=True)
    scale = jnp.where(deviation > 0, deviation, 1) if ridge == 0 else jnp.ones_like(deviation)
    return x / scale, scale.mT


def check_frames(frames: int, features: int, ridge: float | int) -> None:
    """Checks that there are more frames than features, unless there is a ridge.

    Raises:
        InputError: there are not, or there are no frames, or the ridge is negative.
    """
    if ridge < 0:
        raise InputError(f"ridge={ridge}: give 0 or more")
    if frames < 1:
        raise InputError("there are no frames to correlate: give at least one")
    if frames <= features and not ridge > 0:
        raise InputError(
            f"{frames} frames of {features} features have canonical correlations of 1 whatever they are: "
            "give a ridge above 0, or more frames"
        )


def _matmul(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _product(x: Float[Array, "*#b t p"], y: Float[Array, "*#b t q"]) -> Float[Array, "*b2 p q"]:
    return _matmul(x.mT, y)


def _inverse_root(covariance: Float[Array, "*b p p"], ridge: float | int) -> Float[Array, "*b p p"]:
    """Returns (C + ridge I)^-1/2, on the space where C + ridge I is not 0 up to rounding."""
    values, vectors = jnp.linalg.eigh(covariance)
    values = jnp.maximum(values, 0) + ridge
    least = values.shape[-1] * jnp.finfo(values.dtype).eps * jnp.max(values, -1, keepdims=True)
    kept = values > jnp.maximum(least, jnp.finfo(values.dtype).tiny)
    roots = jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, values, 1)), 0)
    return _matmul(vectors * roots[..., None, :], vectors.mT)


def region_scores(
    regions: Num[Array | np.ndarray, "*#b r t p"], audio: Num[Array | np.ndarray, "*#b t q"], ridge: float | int = 0.0
) -> Float[Array, "*b2 r"]:
    """Scores each of R regions alone: its first canonical correlation with the audio, in [0, 1].

    Args:
        regions: features of each region over time, such as its velocity and acceleration.
        audio: features over time, such as MFCCs and their deltas.
        ridge: see `cca`.

    Raises:
        InputError: see `cca`.
    """
    regions, audio = as_float(regions, audio)
    return cca(regions, audio[..., None, :, :], ridge).correlations[..., 0]


def joint_region_scores(
    regions: Num[Array | np.ndarray, "*b r t p"], audio: Num[Array | np.ndarray, "*b t q"], ridge: float | int
) -> Float[Array, "*b r"]:
    """Scores R regions together: the size of a region's part of the first direction, times the region's energy.

    The score is sum |wx| over the region's coordinates, times the standard deviation of its features (root of the sum
    of their variances). All regions compete, so one that only moves along with a stronger one scores low.

    Raises:
        InputError: see `cca`; here p is the number of features of all regions.
    """
    regions, audio = as_float(regions, audio)
    together = jnp.moveaxis(regions, -3, -2)  # [*b, t, r, p]
    flat = together.reshape(*together.shape[:-2], -1)
    first = cca(flat, audio, ridge).wx[..., 0].reshape(*regions.shape[:-2], regions.shape[-1])
    energy = jnp.sqrt(jnp.sum(jnp.var(regions, -2), -1))
    return jnp.sum(jnp.abs(first), -1) * energy
