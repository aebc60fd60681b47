"""AAM's losses: of maps, and of the places of frames and of their sentence in hyperbolic space.

aam(map) + 0.4 distance(frame, sentence) + entailment
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from avsd_jax.losses.map_losses import cc
from avsd_jax.metrics.maps import per_map, total

_LEAST = 1e-12

Maps = Float[Array, "b h w"]


def aam_loss(pred: Maps, density: Maps) -> Float[Array, " b"]:
    """Computes KL - CC - SIM of maps divided by their sums, which are not stretched to [0, 1]; lower is better.

    Args:
        pred, density: non-negative maps of any scale.
    """
    s, g = (x / per_map(jnp.maximum(total(x), _LEAST)) for x in (pred, density))
    kl = total(g * (jnp.log(jnp.maximum(g, _LEAST)) - jnp.log(jnp.maximum(s, _LEAST))))
    return kl - cc(pred, density) - total(jnp.minimum(s, g))
