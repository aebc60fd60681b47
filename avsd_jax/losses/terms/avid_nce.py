"""AVID's loss: which audio of the memory belongs to a video, and which video to an audio."""

from avsd_jax.losses import base


class Term(base.Term):
    """See `avsd_jax.nn.cross_modal_nce.avid_loss`; the model computes it, as it holds the memory."""

    trains = "avid_nce"
    part = "classifier"

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights."""
        return given.output["avid_nce"], given.mask
