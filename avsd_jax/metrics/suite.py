"""The six metrics together."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from avsd_jax.errors import InputError
from avsd_jax.metrics.auc import auc_judd, judd_of_keys, s_auc
from avsd_jax.metrics.distribution import cc, kl, sim
from avsd_jax.metrics.location import nss
from avsd_jax.metrics.maps import FixationMaps, Maps, Scores, as_float, check_shapes, fixated, over_maps

METRICS = ("NSS", "CC", "SIM", "KL", "AUC-J", "s-AUC")

LOWER_IS_BETTER = ("KL", "EMD")
"""The metrics, of all that this package has, of which a lower value is better."""


@functools.partial(jax.jit, static_argnames=("max_fixations", "names"))
def score(
    pred: Maps,
    density: Maps,
    fixations: FixationMaps,
    shuffle_map: FixationMaps,
    max_fixations: int | None = None,
    names: Sequence[str] = METRICS,
    levels: Num[Array | np.ndarray, "*b h w"] | None = None,
) -> dict[str, Scores]:
    """Computes several metrics at once, with shared intermediate results, in the MIT convention.

    Args:
        pred: saliency, `[..., H, W]`.
        density: ground truth, same shape.
        fixations: positive at fixated pixels, same shape.
        shuffle_map: positive at the pool of negatives of the s-AUC, same shape.
        max_fixations: see `auc_judd`.
        names: a tuple of some of `METRICS`.
        levels: a map with the same order of pixels as `pred`: the image of 8 or 16 bits that it was read from, or the
            float32 map that it was converted from. The AUC-J ranks these, which gives the same and is faster.

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
        x: Float[Array, "h w"],
        truth: Float[Array, "h w"],
        hit: Bool[Array, "h w"],
        pool: Bool[Array, "h w"],
        levels: Num[Array, "h w"] | None = None,
    ) -> dict[str, Float[Array, ""]]:
        def judd() -> Float[Array, ""]:
            if levels is None:
                return auc_judd(x, hit, max_fixations)
            return judd_of_keys(levels, x, hit, max_fixations)

        metrics = {
            "NSS": lambda: nss(x, hit),
            "CC": lambda: cc(x, truth),
            "SIM": lambda: sim(x, truth),
            "KL": lambda: kl(x, truth),
            "AUC-J": judd,
            "s-AUC": lambda: s_auc(x, hit, pool, max_fixations=max_fixations),
        }
        return {name: metrics[name]() for name in names}

    maps = (*as_float(pred, density), fixated(fixations), fixated(shuffle_map))
    return over_maps(one, *maps) if levels is None else over_maps(one, *maps, jnp.asarray(levels))
