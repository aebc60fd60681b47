"""Similarity of the predicted map and the density."""

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import sim


class Term(base.Term):
    """See `avsd_jax.losses.map_losses.sim`."""

    higher_is_better = True

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights; only examples with a target count."""
        return sim(given.output["saliency"], given.density()), given.with_density()
