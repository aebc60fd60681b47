"""SBF's loss: binary cross entropy of the map of every level, each pixel weighted, summed over pixels and levels."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from avsd_jax.losses import base

LEVELS = ("logits_global", "logits_4", "logits_3", "logits_2", "logits")


class Term(base.Term):
    """Targets of smaller levels are means of blocks of the density.

    The weights are the entry `pixel_weights` of the batch, which the fusion of the seeds gives (the certainty of image
    and superpixel); without it every pixel counts alike.
    """

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights; only examples with a target count."""
        density = given.density()
        weights = jnp.asarray(given.batch["pixel_weights"]) if "pixel_weights" in given.batch else None
        values = jnp.zeros(len(density))
        for name in LEVELS:
            logits = given.of_model(name, "sbf_bce")
            entropy = optax.losses.sigmoid_binary_cross_entropy(logits, block_means(density, logits.shape[1:]))
            if weights is not None:
                entropy = entropy * block_means(weights, logits.shape[1:])
            values += jnp.sum(entropy, (-2, -1))
        return values, given.with_density()


def block_means(x: Float[Array, "b h w"], size: tuple[int, int]) -> Float[Array, "b h2 w2"]:
    """Returns the means of equal blocks; the size must divide that of the maps."""
    (b, h, w), (rows, columns) = x.shape, size
    return jnp.mean(x.reshape(b, rows, h // rows, columns, w // columns), axis=(2, 4))
