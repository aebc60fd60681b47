"""DeepVS's divergence, of its maps and of its coarse maps."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from avsd_jax.common.by_name import name_of
from avsd_jax.losses import base
from avsd_jax.metrics.maps import per_map, total

_EPSILON = 1e-7


class DeepvsTerm(base.Term):
    """The divergence from each frame's density, averaged over all frames of a clip."""

    of_frames = True

    def __call__(self, given: base.Given) -> base.Values:
        """Returns the means over the frames; all clips count."""
        maps = given.of_model(self.trains, name_of(self))
        density = given.of_batch("density", "DeepVS's loss").reshape(maps.shape)
        flat = (-1, *maps.shape[-2:])
        return deepvs_kl(maps.reshape(flat), density.reshape(flat)).reshape(len(maps), -1).mean(axis=1), given.mask


def deepvs_kl(pred: Float[Array, "n h w"], density: Float[Array, "n h w"]) -> Float[Array, " n"]:
    """Computes `sum g log(eps + g / (s + eps))` of maps divided by their sums, eps = 1e-7; lower is better.

    A density of zero costs nothing.
    """
    s, g = (x / per_map(total(x) + _EPSILON) for x in (pred, density))
    return total(g * jnp.log(_EPSILON + g / (s + _EPSILON)))
