"""Mean binary cross entropy of each scale, in STANet's later releases with a weight of 1."""

from jaxtyping import Array, Float

from avsd_jax.losses.map_losses import bce_mean
from avsd_jax.losses.stanet import ScalesTerm


class Term(ScalesTerm):
    """See `avsd_jax.losses.map_losses.bce_mean`."""

    def of_map(self, logits: Float[Array, "b h w"], density: Float[Array, "b h w"]) -> Float[Array, " b"]:
        """Returns the term of one map."""
        return bce_mean(logits, density)
