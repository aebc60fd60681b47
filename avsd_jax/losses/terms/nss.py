"""Normalised scanpath saliency of the predicted map at the fixations, ViNet's."""

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import nss
from avsd_jax.metrics.maps import total


class Term(base.Term):
    """See `avsd_jax.losses.map_losses.nss`."""

    higher_is_better = True

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights; only examples with a fixation count."""
        fixations = given.of_batch("fixations", "the NSS loss (losses.nss)")
        return nss(given.output["saliency"], fixations), given.mask * (total(fixations) > 0)
