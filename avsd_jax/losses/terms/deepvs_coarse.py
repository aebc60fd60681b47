"""DeepVS's divergence of OM-CNN's coarse maps."""

from avsd_jax.losses.deepvs import DeepvsTerm


class Term(DeepvsTerm):
    """See `avsd_jax.losses.deepvs`."""

    trains = "coarse"
