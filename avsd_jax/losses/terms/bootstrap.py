"""Binary cross entropy of the predicted map with a density that is wrong in places: hard bootstrapping.

The target is a mean of the density and of the model's own decision (Reed et al., ICLR workshop 2015). WSS trains its
saliency network in this way on its own earlier maps.
"""

import jax.numpy as jnp

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import bce_mean

# Share of the density in the target, as in Reed et al.; WSS's own is not known here.
SHARE = 0.8


class Term(base.Term):
    """See the module; the mean over the pixels."""

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights; only examples with a target count."""
        logits, density = given.of_model("logits", "bootstrap"), given.density()
        target = SHARE * density + (1 - SHARE) * jnp.float32(logits > 0)
        return bce_mean(logits, target), given.with_density()
