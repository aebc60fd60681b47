"""Earth mover's distance, exact, by the network simplex of POT."""

import functools
import types
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from avsd_jax.errors import InputError
from avsd_jax.metrics.maps import Maps, Scores, as_float, check_shapes, per_map, total
from avsd_jax.metrics.resize import apply_matrices, bicubic_matrix

_MAX_ITERATIONS = 10_000_000


@functools.partial(jax.jit, static_argnames="shrink")
def emd(pred: Maps, density: Maps, shrink: int = 32) -> Scores:
    """Computes the earth mover's distance between two maps, each divided by its sum (MIT `EMD`).

    The density is resized by `1 / shrink` with MATLAB's bicubic `imresize`, the prediction to the size of that.
    Where the resize undershoots, a negative mass of one map is mass of the other at the same pixel, as in the
    FastEMD library that the MATLAB code calls; that library rounds masses to integers and differs by some 5e-6 from
    the exact distance computed here.

    It is computed on the host, one map after the other, also under `jax.jit` and `jax.vmap`.

    Args:
        pred, density: non-negative maps, `[..., H, W]`.
        shrink: factor by which the maps are reduced; 1 compares them as they are. Time grows with the third
            power of the number of remaining pixels.

    Returns:
        `[...]` in pixels of the reduced maps, lower is better; NaN if a reduced map sums to zero or has
        values that are not finite.

    Raises:
        InputError: the shapes differ, `shrink` is less than 1, or POT is not installed.
    """
    check_shapes(pred=pred, density=density)
    if shrink < 1:
        raise InputError(f"shrink={shrink}: give 1 or more, 32 is the MIT benchmark's")
    _pot()
    pred, density = as_float(pred, density)
    size = tuple(-(-n // shrink) for n in pred.shape[-2:])
    # With a factor, MATLAB samples at exactly that factor, although the size is rounded up.
    of_density = [bicubic_matrix(old, new, 1 / shrink) for old, new in zip(pred.shape[-2:], size, strict=True)]
    of_pred = [bicubic_matrix(old, new) for old, new in zip(pred.shape[-2:], size, strict=True)]
    surplus = _sum_to_one(apply_matrices(pred, *of_pred)) - _sum_to_one(apply_matrices(density, *of_density))
    if surplus.dtype == jnp.float64:
        # As words: if float64 is enabled by `jax.enable_x64` alone, callbacks would get float32.
        words = jax.lax.bitcast_convert_type(surplus, jnp.uint32)
        result = jax.ShapeDtypeStruct((*surplus.shape[:-2], 2), jnp.uint32)
        found = jax.pure_callback(_distances_of_words, result, words, vmap_method="broadcast_all")
        return jax.lax.bitcast_convert_type(found, jnp.float64)
    result = jax.ShapeDtypeStruct(surplus.shape[:-2], surplus.dtype)
    return jax.pure_callback(_distances, result, surplus, vmap_method="broadcast_all")


def _distances_of_words(words: UInt32[Array | np.ndarray, "*b h w 2"]) -> UInt32[np.ndarray, "*b 2"]:
    """Computes `_distances` of float64 numbers that are passed and returned as two words each."""
    found = _distances(np.ascontiguousarray(words).view(np.float64)[..., 0])
    return np.ascontiguousarray(found[..., None]).view(np.uint32)


def check_emd() -> None:
    """Checks that the package which `emd` needs is installed.

    Raises:
        InputError: it is not installed.
    """
    _pot()


def _sum_to_one(x: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    mass = per_map(total(x))
    return x / jnp.where(mass == 0, jnp.nan, mass)


def _distances(surplus: Float[Array | np.ndarray, "*b h w"]) -> Float[np.ndarray, "*b"]:
    """Returns the least work, mass times Euclidean distance, that moves each map's surplus to its deficits."""
    surplus = np.asarray(surplus)
    flat = surplus.reshape(-1, *surplus.shape[-2:]).astype(np.float64)
    return np.array([_distance(x) for x in flat], surplus.dtype).reshape(surplus.shape[:-2])


def _distance(surplus: Float[np.ndarray, "h w"]) -> float:
    if not np.isfinite(surplus).all():
        return float("nan")
    # Distances are a metric: mass that both maps share at a pixel stays there, and only the rest is moved.
    sources, sinks = np.argwhere(surplus > 0), np.argwhere(surplus < 0)
    if not len(sources) or not len(sinks):
        return 0.0
    supply, demand = surplus[surplus > 0], -surplus[surplus < 0]
    cost = np.linalg.norm(sources[:, None] - sinks[None], axis=-1)
    # Both sums are equal up to rounding, and must be equal exactly.
    mass = (supply.sum() + demand.sum()) / 2
    work, log = _pot().emd2(supply / supply.sum(), demand / demand.sum(), cost, numItermax=_MAX_ITERATIONS, log=True)
    if log["warning"] is not None:
        raise RuntimeError(f"the transport problem was not solved: {log['warning']}")
    return float(mass * work)


def _pot() -> types.ModuleType:
    """Imports POT, whose sources give warnings when they are compiled."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ot
    except ImportError:
        raise InputError('the earth mover\'s distance needs POT: pip install "avsd-jax[emd]"') from None
    return ot
