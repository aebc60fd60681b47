"""STAViS's binary cross entropy, summed over the pixels; its official weight is 0.1."""

from jaxtyping import Array, Float

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import bce
from avsd_jax.losses.stavis import StavisTerm


class Term(StavisTerm):
    """See `avsd_jax.losses.map_losses.bce`."""

    def of_map(self, logits: Float[Array, "b h w"], given: base.Given) -> Float[Array, " b"]:
        """Returns the term of one map."""
        return bce(logits, given.density())
