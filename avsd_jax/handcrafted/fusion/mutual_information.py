"""Mutual information of visual and audio signals, in nats (survey, III.D and IV.B, [104, 109, 110, 146])."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.fusion.cca import cca
from avsd_jax.handcrafted.fusion.correlation import WINDOW, correlation_map, pearson, sliding
from avsd_jax.handcrafted.normalise import as_float, constant, unit

# Signals that determine each other have infinite information: 1 - r^2 is kept at this at least (float32: one rounding).
LEAST = 1e-12


def from_correlation(r: Float[Array, "..."]) -> Float[Array, "..."]:
    """Computes -1/2 ln(1 - r^2), with r^2 at most 1 - 1e-12 (13.8 nats), in float32 at most 1 - 1.2e-7 (8 nats)."""
    least = max(LEAST, float(jnp.finfo(r.dtype).eps))
    return -0.5 * jnp.log(jnp.maximum((1 - r) * (1 + r), least))


def scalar(x: Num[Array | np.ndarray, "*b t"], y: Num[Array | np.ndarray, "*c t"]) -> Float[Array, "*d"]:
    """Computes the mutual information of two scalar Gaussian signals; 0 if one is constant."""
    return from_correlation(pearson(x, y))


def gaussian(
    x: Num[Array | np.ndarray, "*b t p"], y: Num[Array | np.ndarray, "*b t q"], ridge: float | int = 0.0
) -> Float[Array, "*b"]:
    """Computes the mutual information of two vector-valued Gaussian signals: -1/2 ln(|C| / (|Cx| |Cy|)).

    It is summed over the canonical correlations, which is the same and stays finite if a covariance is singular.

    Raises:
        InputError: T <= p + q and no ridge (see `avsd_jax.handcrafted.fusion.cca.cca`).
    """
    return jnp.sum(from_correlation(cca(x, y, ridge).correlations), -1)


def histogram(
    x: Num[Array | np.ndarray, "*b t"], y: Num[Array | np.ndarray, "*b t"], bins: int = 8
) -> Float[Array, "*b"]:
    """Computes the mutual information of the joint histogram: sum p(x,y) ln(p(x,y) / (p(x) p(y))).

    Args:
        x, y: T samples each; bins of equal width go from the least to the largest value. A constant signal gives 0.
        bins: of either signal. With few samples for bins^2 cells the value is biased upwards.

    Raises:
        InputError: no bins.
    """
    if bins < 1:
        raise InputError(f"bins={bins}: give at least one")
    x, y = as_float(x, y)
    cells = [jax.nn.one_hot(_bin(z, bins), bins, dtype=z.dtype) for z in (x, y)]
    joint = jnp.einsum("...ti,...tj->...ij", *cells, precision=jax.lax.Precision.HIGHEST) / x.shape[-1]
    independent = jnp.sum(joint, -1, keepdims=True) * jnp.sum(joint, -2, keepdims=True)
    ratio = jnp.where(joint > 0, joint, 1) / jnp.where(joint > 0, independent, 1)
    return jnp.maximum(jnp.sum(joint * jnp.log(ratio), (-2, -1)), 0)


def _bin(x: Float[Array, "*b t"], bins: int) -> Num[Array, "*b t"]:
    """Returns the number of each sample's bin; as NumPy's histograms have it, the last bin has both its ends."""
    scaled = jnp.where(constant(x, -1), 0, unit(x, -1))
    return jnp.clip(jnp.int32(jnp.floor(scaled * bins)), 0, bins - 1)


def sliding_information(
    visual: Num[Array | np.ndarray, "*b t h w"], audio: Num[Array | np.ndarray, "*b t"], window: int = WINDOW
) -> Float[Array, "*b t h w"]:
    """Computes I(x, t) of the visual signal at each place and the audio curve, in a window around each frame.

    Raises:
        InputError: the window has no frames.
    """
    (audio,) = as_float(audio)
    return sliding(lambda v, a: from_correlation(correlation_map(v, a[..., 0])), visual, audio[..., None], window)


def fuse(
    visual: Num[Array | np.ndarray, "*b t h w"], audio: Num[Array | np.ndarray, "*b t"], window: int = WINDOW
) -> Float[Array, "*b t h w"]:
    """Fuses visual saliency with an audio curve: S = V I, with I scaled to [0, 1] in each frame.

    Raises:
        InputError: the window has no frames.
    """
    visual, audio = as_float(visual, audio)
    return visual * unit(sliding_information(visual, audio, window), (-2, -1))
