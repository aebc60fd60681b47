"""Distance of AAM's frames from their sentence in hyperbolic space; its published weight is 0.4."""

import jax.numpy as jnp

from avsd_jax.losses import base
from avsd_jax.nn import lorentz


class Term(base.Term):
    """The mean over a clip's frames of `avsd_jax.nn.lorentz.distance`."""

    trains = "image_point"

    def __call__(self, given: base.Given) -> base.Values:
        """Returns values and weights."""
        image, text, curvature = (given.output[name] for name in ("image_point", "text_point", "curvature"))
        distances = lorentz.distance(image, text, curvature[..., None])[..., 0]
        return jnp.mean(distances, axis=1), given.mask
