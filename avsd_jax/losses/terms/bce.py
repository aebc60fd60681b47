"""Mean binary cross entropy of the predicted map and the density."""

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import bce_mean


class Term(base.Term):
    """See `avsd_jax.losses.map_losses.bce_mean`; reads the map's logits."""

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights; only examples with a target count."""
        return bce_mean(given.of_model("logits", "bce"), given.density()), given.with_density()
