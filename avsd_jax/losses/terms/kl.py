"""ViNet's divergence between the predicted map and the density."""

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import kl


class Term(base.Term):
    """See `avsd_jax.losses.map_losses.kl`."""

    weight = 1.0

    def __call__(self, given: base.Given) -> base.Values:
        """Counts the examples with a target."""
        return kl(given.output["saliency"], given.density()), given.with_density()
