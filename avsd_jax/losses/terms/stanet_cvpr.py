"""The loss of STANet's CVPR scripts: mean binary cross entropy of a map that is a sigmoid's output already."""

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import bce_mean


class Term(base.Term):
    """See `avsd_jax.losses.map_losses.bce_mean`; its official weight is 1."""

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights; only examples with a target count."""
        return bce_mean(given.output["saliency"], given.density()), given.with_density()
