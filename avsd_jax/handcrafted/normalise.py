"""What every formula here starts from: one floating-point type, a test for constant signals, values in [0, 1]."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num, Shaped

# A signal is constant if its range is at most this fraction of its largest magnitude: the rest is rounding.
CONSTANT_FLOAT64 = 1e-12
CONSTANT_FLOAT32 = 1e-6


def as_float(*arrays: Num[Array | np.ndarray, "..."]) -> tuple[Float[Array, "..."], ...]:
    """Converts arrays to one dtype: float64 if any is and JAX has it enabled, else float32."""
    dtype = jnp.promote_types(jnp.result_type(*arrays), jnp.float32)
    return tuple(jnp.asarray(x, dtype) for x in arrays)


def constant(x: Float[Array, "..."], axis: int | tuple[int, ...]) -> Bool[Array, "..."]:
    """Returns whether `x` is constant along `axis`, up to rounding; the axis is kept with length 1."""
    low, high = jnp.min(x, axis, keepdims=True), jnp.max(x, axis, keepdims=True)
    tolerance = CONSTANT_FLOAT64 if x.dtype == jnp.float64 else CONSTANT_FLOAT32
    return high - low <= tolerance * jnp.maximum(jnp.abs(low), jnp.abs(high))


def unit(
    x: Shaped[Array | np.ndarray, "..."], axis: int | tuple[int, ...], flat: float | int = 0.0
) -> Float[Array, "..."]:
    """Scales to [0, 1] along `axis`: N(x) = (x - min) / (max - min).

    Args:
        x: maps, normalised over their last two axes, or curves, normalised over time.
        axis: what is normalised together.
        flat: the value of a constant signal, which has no range: 0, nothing is salient, or 0.5, nothing is known.
    """
    (x,) = as_float(x)
    low, high = jnp.min(x, axis, keepdims=True), jnp.max(x, axis, keepdims=True)
    still = constant(x, axis)
    return jnp.where(still, flat, (x - low) / jnp.where(still, 1, high - low))


def centred(x: Float[Array, "*b t p"]) -> Float[Array, "*b t p"]:
    """Subtracts each feature's mean over T frames; of a constant feature nothing is left, not even rounding."""
    return jnp.where(constant(x, -2), 0, x - jnp.mean(x, -2, keepdims=True))
