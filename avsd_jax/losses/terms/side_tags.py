"""Cross entropy of a video's tags as an earlier layer classifies them."""

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import tag_entropy


class Term(base.Term):
    """See `avsd_jax.losses.map_losses.tag_entropy`."""

    trains = "side_tag_logits"

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights; all examples count."""
        return tag_entropy(given.output["side_tag_logits"], given.of_batch("tags", "the loss of tags")), given.mask
