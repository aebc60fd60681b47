"""MWS's penalty on the area of a map that is learned from tags or captions: its binary cross entropy with 0.

The published weight is 5e-4 in the classification network and 5e-3 in the caption network.
"""

import jax.numpy as jnp

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import bce_mean


class Term(base.Term):
    """The mean over the grid of the features."""

    trains = "grid_logits"

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights; all examples count."""
        logits = given.output["grid_logits"]
        return bce_mean(logits, jnp.zeros_like(logits)), given.mask
