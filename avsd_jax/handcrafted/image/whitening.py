"""Whitening of vectors over the pixels of an image: decorrelation and unit variance."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Directions of less than this fraction of the largest variance hold rounding, not signal.
LEAST_VARIANCE = 1e-6


def whiten(vectors: Float[Array, "*b n c"], least: float = 0.0) -> Float[Array, "*b n c"]:
    """Returns the principal components of n vectors, the strongest first, each of unit variance.

    z = Lambda^-1/2 V' (x - m), V and Lambda of the covariance. Components of a variance of at most `least`, or without
    signal beside the strongest one, are 0.
    """
    centred = vectors - jnp.mean(vectors, -2, keepdims=True)
    covariance = _multiply(centred.mT, centred) / vectors.shape[-2]
    variances, axes = jnp.linalg.eigh(covariance)
    variances, axes = variances[..., ::-1], axes[..., ::-1]
    signal = (variances > LEAST_VARIANCE * variances[..., :1]) & (variances > least)
    scale = jnp.where(signal, jax.lax.rsqrt(jnp.where(signal, variances, 1)), 0)
    return _multiply(centred, axes) * scale[..., None, :]


def distinctness(vectors: Float[Array, "*b n c"], least: float = 0.0) -> Float[Array, "*b n"]:
    """Returns the squared norm of the whitened vectors: Mahalanobis' distance from the mean, Hotelling's T^2.

    No invertible linear map of the vectors changes it; its mean is the number of components with signal. Entries of a
    variance of at most `least` have none.
    """
    centred = vectors - jnp.mean(vectors, -2, keepdims=True)
    variances = jnp.mean(centred**2, -2, keepdims=True)
    signal = variances > least
    scaled = jnp.where(signal, centred * jax.lax.rsqrt(jnp.where(signal, variances, 1)), 0)
    # In single precision the components of a small variance are not quite of variance one: the second time they are.
    return jnp.sum(whiten(whiten(scaled)) ** 2, -1)


def _multiply(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
