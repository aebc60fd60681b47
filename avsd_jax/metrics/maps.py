"""Shared parts of the metrics: types of maps, normalisation, the test for constant maps, and batches."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num, Shaped

from avsd_jax.errors import InputError

Maps = Num[Array | np.ndarray, "*b h w"]
FixationMaps = Shaped[Array | np.ndarray, "*b h w"]
Scores = Float[Array, "*b"]

# A map is constant if its range is at most this fraction of its largest magnitude. Filtering and resizing a
# constant map leaves rounding noise, and MATLAB then scores the noise; NaN is the only reproducible result.
CONSTANT_FLOAT64 = 1e-12
CONSTANT_FLOAT32 = 1e-6

# The axis of the maps of a batch that are scored at once.
_BATCH = "maps of a batch"

CONVENTIONS = ("mit", "pysaliency")


def is_pysaliency(convention: str) -> bool:
    """Returns whether pysaliency's definition is requested instead of the MIT benchmark's.

    Raises:
        InputError: the convention is not in `CONVENTIONS`.
    """
    if convention not in CONVENTIONS:
        raise InputError(f"unknown convention {convention!r}: choose one of {', '.join(CONVENTIONS)}")
    return convention == "pysaliency"


def check_shapes(**maps: Shaped[Array | np.ndarray, "..."]) -> None:
    """Checks that maps have the same shape.

    Raises:
        InputError: they do not have the same shape `[..., H, W]`.
    """
    shapes = {name: tuple(x.shape) for name, x in maps.items()}
    if len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) < 2:
        found = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise InputError(f"maps must share one shape [..., H, W], not {found}: resize the prediction")


def as_float(*maps: Maps) -> tuple[Float[Array, "..."], ...]:
    """Converts maps to one dtype: float64 if any is, else float32 (also from integers and half precision)."""
    dtype = jnp.promote_types(jnp.result_type(*maps), jnp.float32)
    return tuple(jnp.asarray(x, dtype) for x in maps)


def fixated(fixations: FixationMaps) -> Bool[Array, "*b h w"]:
    """Returns where a map of flags or counts is positive: a pixel fixated twice counts once, as in MATLAB."""
    marked = jnp.asarray(fixations)
    return marked if marked.dtype == bool else marked > 0


def weights(fixations: FixationMaps, every_fixation: bool, dtype: Any) -> Float[Array, "*b h w"]:
    """Returns the weight of each pixel in a mean over fixations: one, or the number of its fixations."""
    times = jnp.asarray(fixations) if every_fixation else fixated(fixations)
    return jnp.maximum(times.astype(dtype), 0)


def total(x: Num[Array, "*b h w"]) -> Num[Array, "*b"]:
    """Returns the sum over the pixels of each map."""
    return jnp.sum(x, axis=(-2, -1))


def per_map(values: Float[Array, "*b"]) -> Float[Array, "*b 1 1"]:
    """Reshapes one value per map so that it broadcasts over the pixels."""
    return values[..., None, None]


def chunk_sums(x: Shaped[Array, "*p"], dtype: Any = jnp.int32) -> Int[Array, " chunks"]:
    """Sums of flags or integers over runs of up to 32 pixels, exact in `dtype`.

    XLA's CPU compiler fuses such a sum and its operand to one vectorised loop on all cores, while it
    rewrites longer sums of integers to a slow tree of windows.
    """
    length = next(n for n in range(32, 0, -1) if x.size % n == 0)
    return x.reshape(-1, length).sum(axis=1, dtype=dtype)


def count(mask: Bool[Array, "*p"]) -> Int[Array, ""]:
    """Returns the number of true pixels of one map."""
    return chunk_sums(mask, jnp.int8).sum(dtype=jnp.int32)


def has_nan(x: Num[Array, "h w"], dtype: Any) -> Bool[Array, ""]:
    """Returns whether a map holds a NaN, or infinity; its maximum may not show it, as XLA's on a CPU may drop NaN.

    A sum shows it, and other metrics need this one as well.
    """
    return jnp.isnan(total(scaled(x, dtype)))


def is_constant(x: Num[Array, "*b h w"], dtype: Any = None) -> Bool[Array, "*b"]:
    """Returns whether each map is constant up to rounding, in its own or a wider type; a map with a NaN is not."""
    tolerance = CONSTANT_FLOAT64 if (dtype or x.dtype) == jnp.float64 else CONSTANT_FLOAT32
    low, high = x.min(axis=(-2, -1)).astype(dtype or x.dtype), x.max(axis=(-2, -1)).astype(dtype or x.dtype)
    return high - low <= tolerance * jnp.maximum(jnp.abs(low), jnp.abs(high))


def is_zero(x: Num[Array, "*b h w"]) -> Bool[Array, "*b"]:
    """Returns whether each map is exactly zero everywhere."""
    return (x.min(axis=(-2, -1)) == 0) & (x.max(axis=(-2, -1)) == 0)


def min_max(x: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    """Normalises each map to [0, 1] (min-max); a constant map becomes NaN."""
    low, span = low_and_span(x)
    return normalised(x, per_map(low), per_map(span))


def low_and_span(x: Num[Array, "*b h w"], dtype: Any = None) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    """Returns the minimum and the range of each map, as another type if given; the range is NaN if it is constant."""
    low, high = (found(x, axis=(-2, -1)).astype(dtype or x.dtype) for found in (jnp.min, jnp.max))
    return low, jnp.where(is_constant(x, dtype), jnp.nan, high - low)


def scaled(x: Num[Array, "h w"], dtype: Any) -> Float[Array, "h w"]:
    """Normalises a map as `min_max` does, up to rounding, by a product and not a quotient; a constant map becomes 0.

    The map may be of a narrower type than the result: XLA finds its range sooner.
    """
    low, high = x.min().astype(dtype), x.max().astype(dtype)
    return (x.astype(dtype) - low) * jnp.where(high > low, 1 / (high - low), 0)


def sum_of_products(x: Float[Array, "h w"], y: Float[Array, "h w"]) -> Float[Array, ""]:
    """Returns the sum of the products of pixels."""
    # XLA's dot product is the fastest sum of two maps on a CPU, but in float32 not the most exact one.
    return jnp.vdot(x, y, precision=jax.lax.Precision.HIGHEST) if x.dtype == jnp.float64 else total(x * y)


def lesser(a: Float[Array, "#h #w"], b: Float[Array, "#h #w"]) -> Float[Array, "h w"]:
    """Returns the lesser of numbers that are not NaN: looking for NaN takes XLA longer than comparing."""
    return jnp.where(a < b, a, b)


def normalised(values: Float[Array, "*v"], low: Float[Array, "*#v"], span: Float[Array, "*#v"]) -> Float[Array, "*v"]:
    """Normalises values of a map by its minimum and range."""
    # The barrier keeps XLA from multiplying by 1 / span, which rounds differently: the maximum would not be 1,
    # and the s-AUC has a threshold there.
    return (values - low) / jax.lax.optimization_barrier(jnp.broadcast_to(span, values.shape))


def sum_to_one(x: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    """Divides each map by its sum; a map whose sum is zero is unchanged."""
    mass = total(x)
    return x / per_map(jnp.where(mass == 0, 1, mass))


def pysaliency_density(x: Float[Array, "*b h w"], floor: float = 0.0) -> Float[Array, "*b h w"]:
    """Normalises a density as pysaliency does.

    The map is shifted if it has negative values, `floor` is added, and it is divided by its sum; a zero map becomes
    uniform.
    """
    x = x - per_map(jnp.minimum(x.min(axis=(-2, -1)), 0)) + floor
    pixels = x.shape[-2] * x.shape[-1]
    return jnp.where(per_map(total(x)) == 0, 1 / pixels, sum_to_one(x))


def centred(x: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    """Subtracts the mean of each map, in float32 twice: the second pass removes the rounding of a long sum."""
    pixels = x.shape[-2] * x.shape[-1]
    for _ in range(1 if x.dtype == jnp.float64 else 2):
        x = x - per_map(total(x) / pixels)
    return x


def of_all_maps(n: Int[Array, ""]) -> Int[Array, ""]:
    """Returns the greatest of a number over the maps that `over_maps` scores at once, else the number itself.

    A choice by it is one for all of them, and not both ways computed for each.
    """
    try:
        return jax.lax.pmax(n, _BATCH)
    except NameError:  # not within such a batch
        return n


def over_maps(function: Callable[..., Any], *maps: Shaped[Array, "*b _ _"]) -> Any:
    """Applies a function of single maps `[H, W]`, which returns scalars, to every map of a batch.

    On a CPU one at a time, because a map that stays in the cache is about five times faster; all at once on an
    accelerator, with `of_all_maps` for choices. For these reasons pass a batch to a metric directly rather than through
    `jax.vmap`, which computes every choice.
    """
    lead = maps[0].shape[:-2]
    if not lead:
        return function(*maps)
    flat = tuple(m.reshape(-1, *m.shape[-2:]) for m in maps)
    values = jax.lax.platform_dependent(
        *flat,
        cpu=lambda *xs: jax.lax.map(lambda one: function(*one), xs),
        default=lambda *xs: jax.vmap(function, axis_name=_BATCH)(*xs),
    )
    return jax.tree.map(lambda v: v.reshape(lead), values)
