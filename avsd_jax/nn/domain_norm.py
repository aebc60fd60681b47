"""Batch normalisation that has variables of its own for each domain, that is, for each dataset or kind of image."""

import dataclasses

from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.norm import BatchNorm, Vector

_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class Norms:
    """What the norms of a network have in common.

    Attributes:
        momentum: share of the running statistics that a step keeps.
        axis_name: the pmap axis over which batch statistics are averaged.
        domain: the one whose variables are used; "" for norms without domains.
        domains: all domains that there are variables of.
    """

    momentum: float = 0.9
    axis_name: str | None = None
    domain: str = ""
    domains: tuple[str, ...] = ()

    def create(self, name: str | None = None) -> nn.Module:
        """Creates a norm, a submodule of that name if called within a module."""
        if not self.domain:
            return BatchNorm(self.momentum, _EPSILON, self.axis_name, unbiased=True, name=name)
        return DomainNorm(self, name=name)


class DomainNorm(nn.Module):
    """A `BatchNorm` for each domain, of which the current one normalises."""

    norms: Norms

    def setup(self) -> None:
        """Creates the norms of all domains, so that one checkpoint serves all of them."""
        plain = dataclasses.replace(self.norms, domain="", domains=())
        for domain in self.norms.domains:
            setattr(self, f"bn_{domain}", plain.create())

    def __call__(self, x: Float[Array, "*n c"], use_running_average: bool) -> Float[Array, "*n c"]:
        """Normalises as `BatchNorm` does."""
        if self.is_initializing():
            for domain in self.norms.domains:
                getattr(self, f"bn_{domain}")(x, use_running_average)
        return self._current(x, use_running_average)

    def affine(self) -> tuple[Vector, Vector]:
        """Returns `affine` of the current domain's variables, which must exist already."""
        return self._current.affine()

    @property
    def _current(self) -> BatchNorm:
        return getattr(self, f"bn_{self.norms.domain}")
