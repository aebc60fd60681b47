"""Distance of AAM's frames from their sentence in hyperbolic space; its published weight is 0.4."""

import jax.numpy as jnp

from avsd_jax.losses import base


class Term(base.Term):
    """The mean over a clip's frames."""

    trains = "text_distance"

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights."""
        return jnp.mean(given.output[self.trains], axis=1), given.mask
