"""ViNet's divergence between the predicted map and the density."""

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import kl


class Term(base.Term):
    """See `avsd_jax.losses.map_losses.kl`."""

    weight = 1.0

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights; only examples with a target count."""
        return kl(given.output["saliency"], given.density()), given.with_density()
