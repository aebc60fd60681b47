"""DeepVS's divergence of the predicted maps."""

from avsd_jax.losses.deepvs import DeepvsTerm


class Term(DeepvsTerm):
    """See `avsd_jax.losses.deepvs`."""
