"""Correlation as in STAViS's loss; its official weight is 2."""

import jax
from jaxtyping import Array, Float

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import cc
from avsd_jax.losses.stavis import StavisTerm


class Term(StavisTerm):
    """See `avsd_jax.losses.map_losses.cc`."""

    higher_is_better = True

    def of_map(self, logits: Float[Array, "b h w"], given: base.Given) -> Float[Array, " b"]:
        """Returns the term of one map."""
        return cc(jax.nn.sigmoid(logits), given.density())
