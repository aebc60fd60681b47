"""Cross entropy of a video's tags as an audio encoder classifies them."""

from avsd_jax.losses import base
from avsd_jax.losses.map_losses import tag_entropy


class Term(base.Term):
    """See `avsd_jax.losses.map_losses.tag_entropy`."""

    trains = "heard_logits"
    weight = 1.0

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights; only consistent examples count: in the others the source is not visible."""
        consistent = given.of_batch("avc_label", "the loss of tags of the audio") == 1
        tags = given.of_batch("tags", "the loss of tags of the audio")
        return tag_entropy(given.output["heard_logits"], tags), given.mask * consistent
