"""MWS's attention transfer: the map follows that of a network which learned from another source.

The other network's maps are the density (`config.target_maps`); the published weight is 1e-2.
"""

import jax
import jax.numpy as jnp

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import bce_mean


class Term(base.Term):
    """Binary cross entropy on the grid of the features with the density, which is 1 above twice its mean, else 0."""

    trains = "grid_logits"

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights; only examples with a target count."""
        logits = given.output["grid_logits"]
        other = jax.image.resize(given.density(), logits.shape, "bilinear")
        target = other > 2 * jnp.mean(other, (-2, -1), keepdims=True)
        return bce_mean(logits, jnp.float32(target)), given.with_density()
