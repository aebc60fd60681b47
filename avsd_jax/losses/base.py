"""The base class of the terms of the loss, and their input."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.metrics.maps import total

Values = tuple[Float[Array, " b"], Float[Array, " b"]]


@dataclasses.dataclass(frozen=True)
class Given:
    """The input of the terms.

    Attributes:
        output: what the model returns.
        batch: see `avsd_jax.batch.ENTRIES`.
        mask: 1 for examples, 0 for padding.
        side_weight: weight of the maps of earlier levels relative to the last one's; None if they are not trained.
    """

    output: Mapping[str, Any]
    batch: Mapping[str, Any]
    mask: Float[Array, " b"]
    side_weight: int | float | np.floating | Float[Array, ""] | None = None

    def of_batch(self, key: str, user: str) -> Array:
        """Returns an entry of the batch.

        Raises:
            InputError: it is missing; the message says that `user` needs it.
        """
        if key not in self.batch:
            raise InputError(f"the batch has no {key!r}, which {user} needs: add it to the pipeline or drop that loss")
        return jnp.asarray(self.batch[key])

    def of_model(self, key: str, name: str) -> Array:
        """Returns an entry of the model's output.

        Raises:
            InputError: it is missing; the message says that the loss `name` needs it.
        """
        if key not in self.output:
            raise InputError(
                f"the model has no {key}, which the loss {name!r} needs: set losses.{name}=0, or choose another model"
            )
        return self.output[key]

    def density(self) -> Float[Array, "b h w"]:
        """Returns the target's density maps."""
        return self.of_batch("density", "the saliency loss")

    def with_density(self) -> Float[Array, " b"]:
        """Returns 1 for examples with a target, that is, a density that is not zero everywhere.

        The official training of ViNet redraws clips whose target is empty.
        """
        return self.mask * (total(self.density()) > 0)


@dataclasses.dataclass(frozen=True)
class Term:
    """The base of a term; `avsd_jax/losses/terms/<name>.py` defines the subclass `Term`.

    Called with a `Given`, it returns the values of the examples and the weights with which they count in the mean, so
    that a mean over any split of a batch into devices is exact: sum(values * weights) / global sum(weights).

    Attributes:
        trains: entry of a model's output that this trains; the term is left out for models without it.
        part: the part of eq. 3, "saliency" or "classifier".
        higher_is_better: whether it is subtracted from the loss; weights are positive in either case.
        weight: the default in configurations.
        side_maps: whether `side_weight` is read.
        of_frames: whether it reads the maps of sequences itself, [b t h w]; others get every frame as an example of its
            own, and their mean over a clip's frames is that of the clip.
    """

    trains = "saliency"
    part = "saliency"
    higher_is_better = False
    weight = 0.0
    side_maps = False
    of_frames = False

    def __call__(self, given: Given) -> Values:
        """Returns values and weights of the examples.

        Raises:
            InputError: the batch or the model's output lacks an entry.
        """
        raise NotImplementedError
