"""Entailment of AAM's frames by their sentence, and of this by an anchor; its published weight is 1."""

import jax.numpy as jnp

from avsd_jax.losses import base
from avsd_jax.losses.aam import entailment


class Term(base.Term):
    """The mean over a clip's frames of `avsd_jax.losses.aam.entailment`."""

    trains = "image_point"

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights."""
        points = [given.output[name] for name in ("image_point", "text_point", "anchor_point")]
        flat = [x.reshape(-1, x.shape[-1]) for x in points]
        values = entailment(*flat, given.output["curvature"].reshape(-1))
        return jnp.mean(values.reshape(points[0].shape[:2]), axis=1), given.mask
