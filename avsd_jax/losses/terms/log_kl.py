"""The divergence of the density whose logarithm a model predicts, UNISAL's; its published weight is 1."""

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import log_kl


class Term(base.Term):
    """See `avsd_jax.losses.map_losses.log_kl`."""

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights; only examples with a target count."""
        return log_kl(given.of_model("log_density", "log_kl"), given.density()), given.with_density()
