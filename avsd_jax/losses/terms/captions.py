"""Cross entropy of the words of a caption, as MWS's caption network predicts them."""

import jax.numpy as jnp
import optax

from avsd_jax.losses import base


class Term(base.Term):
    """The mean over all words of a batch."""

    trains = "word_logits"

    def __call__(self, given: base.Given) -> base.Values:
        """Returns the mean over the words of each caption, and their number; -1 follows the last word."""
        words = given.of_batch("captions", "the loss of captions")
        known = words >= 0
        logits = given.output["word_logits"]
        entropy = optax.losses.softmax_cross_entropy_with_integer_labels(logits, jnp.where(known, words, 0))
        number = jnp.sum(known, -1)
        return jnp.sum(jnp.where(known, entropy, 0), -1) / jnp.maximum(number, 1), given.mask * number
