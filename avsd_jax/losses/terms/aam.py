"""AAM's loss of the predicted maps; its published weight is 1."""

from avsd_jax.losses import base
from avsd_jax.losses.aam import aam_loss


class Term(base.Term):
    """See `avsd_jax.losses.aam.aam_loss`."""

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights; only examples with a target count."""
        return aam_loss(given.output["saliency"], given.density()), given.with_density()
