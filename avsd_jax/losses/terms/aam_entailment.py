"""Angles by which AAM's frames and their sentence lie off the cones of what entails them; its published weight is 1."""

import jax.numpy as jnp

from avsd_jax.losses import base


class Term(base.Term):
    """The mean over a clip's frames."""

    trains = "text_entailment"

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights."""
        return jnp.mean(given.output[self.trains], axis=1), given.mask
