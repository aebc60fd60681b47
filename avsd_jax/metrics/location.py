"""Normalised scanpath saliency."""

import jax.numpy as jnp

from avsd_jax.metrics.maps import (
    FixationMaps,
    Maps,
    Scores,
    as_float,
    centred,
    count,
    fixated,
    min_max,
    total,
)


def nss(pred: Maps, fixations: FixationMaps) -> Scores:
    """Mean over the fixated pixels of the prediction's z-score (MIT `NSS`: standard deviation over n - 1).

    Args:
        pred: saliency of any scale, `[..., H, W]`.
        fixations: positive where somebody looked, same shape.

    Returns:
        `[...]`; NaN where there is no fixation or the prediction is constant.
    """
    (pred,) = as_float(pred)
    hit = fixated(fixations)
    deviation = centred(min_max(pred))
    pixels = pred.shape[-2] * pred.shape[-1]
    std = jnp.sqrt(total(deviation**2) / (pixels - 1))
    return total(jnp.where(hit, deviation, 0)) / count(hit) / std
