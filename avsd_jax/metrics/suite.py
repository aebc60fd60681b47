"""The six metrics together."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from avsd_jax.errors import InputError
from avsd_jax.metrics.auc import binned_of, judd_of
from avsd_jax.metrics.distribution import correlation_of, divergence_of, intersection_of
from avsd_jax.metrics.location import nss_of
from avsd_jax.metrics.maps import FixationMaps, Maps, Scores, as_float, check_shapes, fixated, over_maps

METRICS = ("NSS", "CC", "SIM", "KL", "AUC-J", "s-AUC")

LOWER_IS_BETTER = ("KL", "EMD")
"""The metrics, of all that this package has, of which a lower value is better."""


@functools.partial(jax.jit, static_argnames=("max_fixations", "names", "dtype"))
def score(
    pred: Maps,
    density: Maps,
    fixations: FixationMaps,
    shuffle_map: FixationMaps,
    max_fixations: int | None = None,
    names: Sequence[str] = METRICS,
    levels: Num[Array | np.ndarray, "*b h w"] | None = None,
    dtype: Any = None,
) -> dict[str, Scores]:
    """Computes several metrics at once, with shared intermediate results, in the MIT convention.

    Args:
        pred: saliency, `[..., H, W]`.
        density: ground truth, same shape.
        fixations: positive at fixated pixels, same shape.
        shuffle_map: positive at the pool of negatives of the s-AUC, same shape.
        max_fixations: see `auc_judd`.
        names: a tuple of some of `METRICS`.
        levels: a map with the same order of pixels as `pred`: the image of 8 or 16 bits that it was read from. The
            AUC-J ranks these, which gives the same and is faster.
        dtype: of the scores, as if the maps had been converted to it, which is faster left to this function; None: the
            one that the maps have.

    Returns:
        Name -> `[...]`, NaN if there is no such score.

    Raises:
        InputError: the shapes differ or a name is unknown.
    """
    given = {} if levels is None else {"levels": levels}
    check_shapes(pred=pred, density=density, fixations=fixations, shuffle_map=shuffle_map, **given)
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise InputError(f"unknown metric {unknown[0]!r}: choose from {', '.join(METRICS)}")

    def one(
        x: Num[Array, "h w"],
        truth: Num[Array, "h w"],
        hit: Bool[Array, "h w"],
        pool: Bool[Array, "h w"],
        levels: Num[Array, "h w"] | None = None,
    ) -> dict[str, Float[Array, ""]]:
        metrics = {
            "NSS": lambda: nss_of(x, hit, dtype, max_fixations),
            "CC": lambda: correlation_of(x, truth, dtype),
            "SIM": lambda: intersection_of(x, truth, dtype),
            "KL": lambda: divergence_of(x, truth, dtype),
            "AUC-J": lambda: judd_of(x if levels is None else levels, x, hit, max_fixations, dtype),
            "s-AUC": lambda: binned_of(x, hit, pool, dtype, max_fixations=max_fixations),
        }
        return {name: metrics[name]() for name in names}

    if dtype is None:
        pred, density = as_float(pred, density)
        dtype = pred.dtype
    maps = (jnp.asarray(pred), jnp.asarray(density), fixated(fixations), fixated(shuffle_map))
    return over_maps(one, *maps) if levels is None else over_maps(one, *maps, jnp.asarray(levels))
