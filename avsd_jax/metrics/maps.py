"""What the metrics share: types of maps, normalisation, and when a map counts as constant."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num, Shaped

Maps = Num[Array | np.ndarray, "*b h w"]
FixationMaps = Shaped[Array | np.ndarray, "*b h w"]
Scores = Float[Array, "*b"]

# A map is constant where its range is at most this share of its largest magnitude. Filtering and resizing a
# constant map leaves rounding noise, and MATLAB then scores the noise; NaN is the only reproducible answer.
CONSTANT_FLOAT64 = 1e-12
CONSTANT_FLOAT32 = 1e-6


def as_float(*maps: Maps) -> tuple[Float[Array, "..."], ...]:
    """Brings maps to one dtype: float64 if any is, else float32 (also from integers and half precision)."""
    dtype = jnp.promote_types(jnp.result_type(*maps), jnp.float32)
    return tuple(jnp.asarray(x, dtype) for x in maps)


def fixated(fixations: FixationMaps) -> Bool[Array, "*b h w"]:
    """Where a map of flags or counts is positive: a pixel fixated twice counts once, as in MATLAB."""
    return jnp.asarray(fixations) > 0


def total(x: Num[Array, "*b h w"]) -> Num[Array, "*b"]:
    """Sum over the pixels of each map."""
    return jnp.sum(x, axis=(-2, -1))


def count(mask: Bool[Array, "*b h w"]) -> Num[Array, "*b"]:
    """Number of true pixels of each map."""
    return jnp.sum(mask, axis=(-2, -1), dtype=jnp.int32)


def per_map(values: Float[Array, "*b"]) -> Float[Array, "*b 1 1"]:
    """Lines one value per map up with the maps' pixels."""
    return values[..., None, None]


def is_constant(x: Float[Array, "*b h w"]) -> Bool[Array, "*b"]:
    """Whether each map is constant up to rounding; a map with a NaN is not."""
    tolerance = CONSTANT_FLOAT64 if x.dtype == jnp.float64 else CONSTANT_FLOAT32
    low, high = x.min(axis=(-2, -1)), x.max(axis=(-2, -1))
    return high - low <= tolerance * jnp.maximum(jnp.abs(low), jnp.abs(high))


def is_zero(x: Float[Array, "*b h w"]) -> Bool[Array, "*b"]:
    """Whether each map is exactly zero everywhere."""
    return jnp.all(x == 0, axis=(-2, -1))


def min_max(x: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    """Stretches each map to [0, 1]; a constant map becomes NaN throughout."""
    low, high = x.min(axis=(-2, -1)), x.max(axis=(-2, -1))
    span = per_map(jnp.where(is_constant(x), jnp.nan, high - low))
    # The barrier keeps XLA from multiplying by 1 / span, which rounds otherwise: the maximum would not be 1,
    # and the s-AUC has a threshold there.
    return (x - per_map(low)) / jax.lax.optimization_barrier(jnp.broadcast_to(span, x.shape))


def centred(x: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    """Subtracts each map's mean, twice: the second pass removes the rounding of a long float32 sum."""
    pixels = x.shape[-2] * x.shape[-1]
    for _ in range(2):
        x = x - per_map(total(x) / pixels)
    return x
