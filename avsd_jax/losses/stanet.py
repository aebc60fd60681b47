"""The base of the terms of STANet's later releases: each is a sum over the scales of the target frame's map."""

from jaxtyping import Array, Float

from avsd_jax.common.by_name import name_of
from avsd_jax.losses import base


class ScalesTerm(base.Term):
    """A term of `scale_logits` [b k scales h w], of the middle one of K frames, which is the target."""

    def of_map(self, logits: Float[Array, "b h w"], density: Float[Array, "b h w"]) -> Float[Array, " b"]:
        """Returns the term of one scale."""
        raise NotImplementedError

    def __call__(self, given: base.Given) -> base.Values:
        """Returns the sum over the scales; only examples with a target count."""
        scales, density = given.of_model("scale_logits", name_of(self)), given.density()
        target = scales[:, scales.shape[1] // 2]
        return sum(self.of_map(target[:, i], density) for i in range(target.shape[1])), given.with_density()
