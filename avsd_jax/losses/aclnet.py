"""ACLNet's loss, 10 KL - 2 CC - NSS, of its maps and of its attention."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from avsd_jax.common.by_name import name_of
from avsd_jax.errors import InputError
from avsd_jax.losses import base
from avsd_jax.losses.map_losses import cc, nss
from avsd_jax.metrics.maps import per_map, total

_EPSILON = 1e-7
# A target with no higher value counts as none.
_EMPTY = 0.1


class AclnetTerm(base.Term):
    """The loss of each clip, summed over its frames as in the published code; the targets are made as small as its map.

    The published sum over a batch is the mean times the batch's size.
    """

    of_frames = True

    def __call__(self, given: base.Given) -> base.Values:
        """Returns the sums over the frames; all clips count.

        Raises:
            InputError: the targets are no multiple of the maps' size.
        """
        maps = given.of_model(self.trains, name_of(self))
        density = given.of_batch("density", "ACLNet's loss")
        fixations = given.of_batch("fixations", "ACLNet's loss")
        factor = density.shape[-1] // maps.shape[-1]
        if factor * maps.shape[-1] != density.shape[-1] or factor * maps.shape[-2] != density.shape[-2]:
            raise InputError("the targets are no multiple of the maps of ACLNet's loss: choose another frame_size")
        small, hits = _blocks(density, factor).mean(axis=-1), _blocks(fixations, factor).max(axis=-1)
        flat = maps.reshape(-1, *maps.shape[-2:])
        values = aclnet_loss(flat, small.reshape(flat.shape), hits.reshape(flat.shape))
        return values.reshape(len(maps), -1).sum(axis=1), given.mask


def aclnet_loss(
    pred: Float[Array, "n h w"], density: Float[Array, "n h w"], fixations: Float[Array, "n h w"]
) -> Float[Array, " n"]:
    """Computes 10 KL - 2 CC - NSS of each map; each part is 0 where its target has no value above 0.1.

    Args:
        pred: non-negative, of any scale: it is divided by its maximum first.
        density: in [0, 1].
        fixations: 1 where there is one.
    """
    high = pred.max(axis=(-2, -1))
    pred = pred / per_map(jnp.where(high > 0, high, 1))
    s, g = (x / per_map(total(x) + _EPSILON) for x in (pred, density))
    divergence = total(g * jnp.log(g / (s + _EPSILON) + _EPSILON))
    seen, looked = (x.max(axis=(-2, -1)) > _EMPTY for x in (density, fixations))
    return jnp.where(seen, 10 * divergence - 2 * cc(pred, density), 0) - jnp.where(looked, nss(pred, fixations, 0), 0)


def _blocks(x: Float[Array, "*n h w"], factor: int) -> Float[Array, "*n h2 w2 f"]:
    """Returns the values of each block of `factor` x `factor` pixels."""
    *lead, height, width = x.shape
    x = x.reshape(*lead, height // factor, factor, width // factor, factor)
    return jnp.swapaxes(x, -3, -2).reshape(*lead, height // factor, width // factor, factor * factor)
