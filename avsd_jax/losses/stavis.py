"""The base of STAViS's three terms: each is a sum over the trained maps, and every example counts.

The official training, unlike ViNet's, keeps clips whose target is empty.
"""

from jaxtyping import Array, Float

from avsd_jax.common.by_name import name_of
from avsd_jax.errors import InputError
from avsd_jax.losses import base


class StavisTerm(base.Term):
    """A term of the last level's logits, and of the side maps if those are trained."""

    side_maps = True

    def of_map(self, logits: Float[Array, "b h w"], given: base.Given) -> Float[Array, " b"]:
        """Returns the term of one map."""
        raise NotImplementedError

    def __call__(self, given: base.Given) -> base.Values:
        """Returns the sum over the trained maps; all examples count."""
        values = self.of_map(given.of_model("logits", name_of(self)), given)
        if given.side_weight is not None:
            if "side_logits" not in given.output:
                raise InputError("the model has no side_logits, which side_epochs trains: set side_epochs=0")
            sides = given.output["side_logits"]
            for i in range(sides.shape[1]):
                values = values + given.side_weight * self.of_map(sides[:, i], given)
        return values, given.mask
