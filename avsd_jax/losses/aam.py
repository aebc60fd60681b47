"""AAM's losses: of maps, and of the places of frames and of their sentence in hyperbolic space.

aam(map) + 0.4 distance(frame, sentence) + entailment
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from avsd_jax.losses.map_losses import cc
from avsd_jax.metrics.maps import per_map, total
from avsd_jax.nn import lorentz

_LEAST = 1e-12
# How much of the half angle of a sentence's cone its frames may lie off.
_FRAME_SHARE = 0.8

Maps = Float[Array, "b h w"]


def aam_loss(pred: Maps, density: Maps) -> Float[Array, " b"]:
    """Computes KL - CC - SIM of maps divided by their sums, which are not stretched to [0, 1]; lower is better.

    Args:
        pred, density: non-negative maps of any scale.
    """
    s, g = (x / per_map(jnp.maximum(total(x), _LEAST)) for x in (pred, density))
    kl = total(g * (jnp.log(jnp.maximum(g, _LEAST)) - jnp.log(jnp.maximum(s, _LEAST))))
    return kl - cc(pred, density) - total(jnp.minimum(s, g))


def entailment(
    image: Float[Array, "b d"],
    sentence: Float[Array, "b d"],
    anchor: Float[Array, "b d"],
    curvature: Float[Array, " b"],
) -> Float[Array, " b"]:
    """Computes by how many radians frames lie off the cone of their sentence, and sentences off that of the anchor.

    The mean of both; 0 within a cone, that of a sentence being narrowed to 0.8 of its half angle.

    Args:
        image, sentence, anchor: points.
        curvature: of their space.
    """
    space = curvature[:, None]
    told = _beyond(sentence, image, space, _FRAME_SHARE)
    return 0.5 * (told + _beyond(anchor, sentence, space, 1.0))


def _beyond(
    apex: Float[Array, "b d"], point: Float[Array, "b d"], curvature: Float[Array, "b 1"], share: float
) -> Float[Array, " b"]:
    angle = lorentz.exterior_angle(apex, point, curvature)
    return jnp.maximum(angle - share * lorentz.half_aperture(apex, curvature), 0)[..., 0]
