"""Acoustic surprise: how much a new sample changes what was believed of its frequency band (survey, IV.A, [123])."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma, gammaln
from jaxtyping import Array, Float, Num

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.normalise import as_float

FORGETTING = 0.7

_LEAST_MASS = 1e-12


def gaussian(
    x: Num[Array | np.ndarray, "*b t"], history: int, least: float | int | None = None
) -> Float[Array, "*b t"]:
    """Computes the surprise of each sample under a Gaussian fitted to those before it, in nats.

    KL(posterior || prior) = 1/2 (ln(v0 / v1) + v1 / v0 - 1 + (m1 - m0)^2 / v0): the prior has mean m0 and population
    variance v0 of the last N samples, the posterior those of the same and the new one.

    Args:
        x: T samples of each band; leading axes are bands.
        history: N, the length of the ring buffer.
        least: of both variances; by default the machine's epsilon, with which any sound after silence outweighs all
            others.

    Returns:
        NaN for the first N samples, whose prior does not exist: `over_bands` makes them 0.

    Raises:
        InputError: a history below 1.
    """
    if history < 1:
        raise InputError(f"history={history}: give at least one sample")
    (x,) = as_float(x)
    samples, least = x.shape[-1], jnp.finfo(x.dtype).eps if least is None else least
    undefined = jnp.full_like(x[..., : min(history, samples)], jnp.nan)
    if samples <= history:
        return undefined
    # Only differences matter: from the first sample they are small, and of a constant band exactly 0.
    values = jnp.moveaxis(x - x[..., :1], -1, 0)

    def at(start: Array) -> Array:
        known = jax.lax.dynamic_slice_in_dim(values, start, history + 1, 0)
        (m0, v0), (m1, v1) = ((jnp.mean(z, 0), jnp.maximum(jnp.var(z, 0), least)) for z in (known[:-1], known))
        return 0.5 * (jnp.log(v0 / v1) + v1 / v0 - 1 + (m1 - m0) ** 2 / v0)

    found = jax.lax.map(at, jnp.arange(samples - history), batch_size=64)
    return jnp.concatenate([undefined, jnp.moveaxis(found, 0, -1)], -1)


def gamma(
    x: Num[Array | np.ndarray, "*b t"],
    forgetting: float | int = FORGETTING,
    shape: float | int = 1.0,
    rate: float | int = 1.0,
) -> Float[Array, "*b t"]:
    """Computes the surprise of each sample under a Gamma distribution of its band's rate, in nats.

    The belief Gamma(a, b) becomes Gamma(z a + x, z b + 1) with each sample x; the surprise is their KL divergence,
    posterior from prior.

    Args:
        x: T samples of each band, not negative, such as magnitudes; negative ones count as 0.
        forgetting: z, in (0, 1].
        shape, rate: a and b before the first sample.

    Raises:
        InputError: a parameter outside of its range.
    """
    if not (0 < forgetting <= 1 and shape > 0 and rate > 0):
        raise InputError(
            f"forgetting={forgetting}, shape={shape}, rate={rate}: give a forgetting above 0 and at most 1, and a "
            "shape and rate above 0"
        )
    (x,) = as_float(x)
    x = jnp.moveaxis(jnp.maximum(x, 0), -1, 0)
    # In long silence a vanishes, and the divergence with it would not be finite.
    least = float(np.sqrt(jnp.finfo(x.dtype).tiny))

    def step(belief: tuple[Array, Array], sample: Array) -> tuple[tuple[Array, Array], Array]:
        a, b = belief
        a1, b1 = jnp.maximum(forgetting * a + sample, least), forgetting * b + 1
        kl = (a1 - a) * digamma(a1) - gammaln(a1) + gammaln(a) + a * (jnp.log(b1) - jnp.log(b)) + a1 * (b - b1) / b1
        return (a1, b1), jnp.maximum(kl, 0)

    start = (jnp.full_like(x[0], shape), jnp.full_like(x[0], rate)) if x.shape[0] else None
    if start is None:
        return jnp.moveaxis(x, 0, -1)
    return jnp.moveaxis(jax.lax.scan(step, start, x)[1], 0, -1)


def over_bands(surprise: Num[Array | np.ndarray, "*b f t"]) -> Float[Array, "*b t"]:
    """Averages surprise over F bands; where it does not exist yet it is 0."""
    (surprise,) = as_float(surprise)
    return jnp.mean(jnp.where(jnp.isnan(surprise), 0, surprise), -2)


def spectral_divergence(p: Num[Array | np.ndarray, "*b f"], q: Num[Array | np.ndarray, "*c f"]) -> Float[Array, "*d"]:
    """Computes KL(p || q) of two fragments' spectra, each divided by its sum: the survey's reading of [123], in nats.

    1e-12 is added to all normalised values; two silent fragments have divergence 0.

    Args:
        p, q: magnitudes or powers of F frequencies, not negative; leading axes are broadcast.
    """
    p, q = (_distribution(z) for z in as_float(p, q))
    return jnp.maximum(jnp.sum(p * jnp.log(p / q), -1), 0)


def _distribution(x: Float[Array, "*b f"]) -> Float[Array, "*b f"]:
    total = jnp.sum(x, -1, keepdims=True)
    x = x / jnp.where(total > 0, total, 1) + _LEAST_MASS
    return x / jnp.sum(x, -1, keepdims=True)


def fragment_divergence(spectrogram: Num[Array | np.ndarray, "*b f t"], length: int) -> Float[Array, "*b t"]:
    """Computes `spectral_divergence` of the `length` columns up to each one from the `length` before these.

    Where there are not as many, the divergence is 0.

    Raises:
        InputError: a length below 1.
    """
    if length < 1:
        raise InputError(f"fragments of {length} columns: give at least one")
    (spectrogram,) = as_float(spectrogram)
    columns = jnp.moveaxis(spectrogram, -1, 0)
    frames = columns.shape[0]
    if frames < 2 * length:
        return jnp.zeros((*spectrogram.shape[:-2], frames), spectrogram.dtype)

    def at(start: Array) -> Array:
        both = jax.lax.dynamic_slice_in_dim(columns, start, 2 * length, 0)
        return spectral_divergence(jnp.sum(both[length:], 0), jnp.sum(both[:length], 0))

    found = jax.lax.map(at, jnp.arange(frames - 2 * length + 1), batch_size=64)
    pad = [(0, 0)] * (spectrogram.ndim - 2) + [(2 * length - 1, 0)]
    return jnp.pad(jnp.moveaxis(found, 0, -1), pad)
