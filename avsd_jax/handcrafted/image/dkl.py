"""The cone-opponent colours of Derrington, Krauskopf and Lennie, as the GBVS toolbox derives them from RGB."""

import functools
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Cone excitations (rows L, M, S) by the light of the monitor's three primaries, and those of its grey.
CONES = np.array(((18.32535, 44.60077, 7.46216), (4.09544, 28.20135, 6.66066), (0.02114, 0.10325, 1.05258)))
GREY = np.array((34.9185389578, 19.3147966765, 0.5856108185))
SCALES = (0.5774, 2.7525, 0.4526)


def dkl(rgb: Float[Array, "*b 3 h w"]) -> Float[Array, "*b 3 h w"]:
    """Returns luminance, red-green and blue-yellow of RGB in [0, 1], each about -1 to 1.

    A value v gives the light of entry ceil(255 v) of a measured monitor's table, counted from 1.
    """
    # Evenly coloured areas have values k / 255, so it matters whether 255 v, unrounded, is above k or not: in this
    # order single precision is exact.
    whole = jnp.round(255 * rgb)
    above = (256 * rgb - whole) - rgb > 0
    entry = jnp.clip(whole + above, 1, 256).astype(jnp.int32) - 1
    table = jnp.asarray(_gamma(), rgb.dtype)
    light = jnp.stack([table[entry[..., c, :, :], c] for c in range(3)], -3)
    weights, offset = _opponents()
    weights = jnp.asarray(weights, rgb.dtype)
    # Three products are summed in a fixed order: a matrix product would be rounded more coarsely on accelerators.
    return jnp.stack([sum(weights[k, c] * light[..., c, :, :] for c in range(3)) - offset[k] for k in range(3)], -3)


def _opponents() -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]:
    """Returns the matrix and the offset from light to the three mechanisms: all steps are linear."""
    long, medium, short = GREY
    total = 1 / (long + medium)
    norm = np.hypot(long, medium) * total
    mechanisms = np.array(
        (
            (np.sqrt(3) * total, np.sqrt(3) * total, 0),
            (norm / long, -norm / medium, 0),
            (-total, -total, 1 / short),
        )
    )
    mechanisms *= np.array(SCALES)[:, None]
    return mechanisms @ CONES, mechanisms @ GREY


@functools.cache
def _gamma() -> Float[np.ndarray, "256 3"]:
    return np.loadtxt(Path(__file__).with_name("dkl_gamma.csv"), delimiter=",")
