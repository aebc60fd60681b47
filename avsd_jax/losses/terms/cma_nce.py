"""CMA's addition to AVID's loss: which videos of the memory are alike, within each modality."""

from avsd_jax.losses import base


class Term(base.Term):
    """See `avsd_jax.nn.cross_modal_nce.agreement_loss`; the model computes it, as it holds the memory."""

    trains = "cma_nce"
    part = "classifier"

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights."""
        return given.output["cma_nce"], given.mask
