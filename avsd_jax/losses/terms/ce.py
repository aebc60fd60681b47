"""Cross entropy of the consistency classifier: the second part of eq. 3."""

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import cross_entropy


class Term(base.Term):
    """See `avsd_jax.losses.map_losses.cross_entropy`."""

    trains = "avc_logits"
    part = "classifier"
    weight = 1.0

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights; only labelled examples count."""
        labels = given.of_batch("avc_label", "the classifier's loss")
        return cross_entropy(given.output["avc_logits"], labels), given.mask * (labels >= 0)
