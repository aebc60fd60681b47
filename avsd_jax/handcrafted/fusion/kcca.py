"""Kernel canonical correlation: CCA of features in the spaces of two kernels (survey, IV.B, [143])."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.normalise import as_float, centred

KERNELS = ("gaussian", "linear")


class KCCA(NamedTuple):
    """T correlations in decreasing order, and the dual coefficients of their directions.

    a' (Kx^2 + kappa Kx) a = 1 for each column of `a` with a correlation above 0, and so for `b`.
    """

    correlations: Float[Array, "*b t"]
    a: Float[Array, "*b t t"]
    b: Float[Array, "*b t t"]


def kcca(
    x: Num[Array | np.ndarray, "*b t p"],
    y: Num[Array | np.ndarray, "*b t q"],
    *,
    kappa: float | int,
    sigma: float | int = 1.0,
    kernel: str = "gaussian",
) -> KCCA:
    """Computes kernel canonical correlations of the features of T frames; time grows with T^3.

    Args:
        x, y: p and q features.
        kappa: regularisation, above 0; without it all correlations are 1.
        sigma: of the Gaussian kernel exp(-d^2 / (2 sigma^2)), in the features' units.
        kernel: "gaussian", or "linear", which with kappa = T ridge is CCA with that ridge.

    Raises:
        InputError: an unknown kernel, or a kappa or sigma that is not above 0.
    """
    if kernel not in KERNELS:
        raise InputError(f"unknown kernel {kernel!r}: choose one of {', '.join(KERNELS)}")
    if not (kappa > 0 and sigma > 0):
        raise InputError(f"kappa={kappa}, sigma={sigma}: give numbers above 0; without kappa every correlation is 1")
    x, y = as_float(x, y)
    size = 1.0 if kernel == "gaussian" else 0.0  # of the numbers whose rounding is in the Gram matrix
    (shrunk_x, dual_x), (shrunk_y, dual_y) = (_roots(_centred_gram(z, kernel, sigma), kappa, size) for z in (x, y))
    u, rho, v = jnp.linalg.svd(_matmul(shrunk_x, shrunk_y))
    return KCCA(jnp.clip(rho, 0, 1), _matmul(dual_x, u), _matmul(dual_y, v.mT))


def _matmul(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _centred_gram(x: Float[Array, "*b t p"], kernel: str, sigma: float | int) -> Float[Array, "*b t t"]:
    """Returns H K H, H = I - 1 1' / T."""
    x = centred(x)
    gram = _matmul(x, x.mT)
    if kernel == "gaussian":
        squares = jnp.diagonal(gram, axis1=-2, axis2=-1)
        distances = jnp.maximum(squares[..., :, None] + squares[..., None, :] - 2 * gram, 0)
        gram = jnp.exp(-distances / (2 * sigma**2))
    gram = gram - jnp.mean(gram, -1, keepdims=True)
    return gram - jnp.mean(gram, -2, keepdims=True)


def _roots(
    gram: Float[Array, "*b t t"], kappa: float | int, scale: float
) -> tuple[Float[Array, "*b t t"], Float[Array, "*b t t"]]:
    """Returns (K / (K + kappa))^1/2 and (K^2 + kappa K)^-1/2.

    With these the eigenvalues of (Kx + kappa)^-1 Ky (Ky + kappa)^-1 Kx are squares of singular values of a product of
    two symmetric matrices: always real, and stable.
    """
    values, vectors = jnp.linalg.eigh((gram + gram.mT) / 2)
    least = values.shape[-1] * jnp.finfo(values.dtype).eps * jnp.maximum(jnp.max(values, -1, keepdims=True), scale)
    kept = values > jnp.maximum(least, jnp.finfo(values.dtype).tiny)
    values = jnp.where(kept, values, 0)
    shrunk = jnp.sqrt(values / (values + kappa))
    dual = jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, values * (values + kappa), 1)), 0)
    return tuple(_matmul(vectors * z[..., None, :], vectors.mT) for z in (shrunk, dual))
