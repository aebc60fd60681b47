"""Normalised scanpath saliency as in STAViS's loss; its official weight is 1."""

import jax
from jaxtyping import Array, Float

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import nss
from avsd_jax.losses.stavis import StavisTerm


class Term(StavisTerm):
    """See `avsd_jax.losses.map_losses.nss`; the deviation is over all n pixels."""

    higher_is_better = True

    def of_map(self, logits: Float[Array, "b h w"], given: base.Given) -> Float[Array, " b"]:
        """Returns the term of one map."""
        return nss(jax.nn.sigmoid(logits), given.of_batch("fixations", "STAViS's NSS loss"), ddof=0)
