"""Grad-CAM++ (Chattopadhay et al., WACV 2018): a map of a class from a feature and the gradient of the class's score.

The score is that before the softmax. Both rules are those of public code, measured on recorded cases:

    official   the authors'. A weight alpha of each location, those with a positive gradient normalised to sum to 1 in a
               channel; a map divided by its maximum. Their factor exp(score) is left out: it is common to all channels,
               so that it changes no map, and it overflows.
    jacobgil   pytorch-grad-cam's. The same alpha with 1e-6 added to its denominator, and not normalised; a map
               stretched to [0, 1].
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from avsd_jax.errors import InputError

_PLACES = (-3, -2)


def channel_weights(
    activations: Float[Array, "*b h w c"], gradients: Float[Array, "*b h w c"], rule: str = "official"
) -> Float[Array, "*b c"]:
    """Returns the weight of each channel.

    Args:
        activations: a feature.
        gradients: of the score of a class with respect to it.
        rule: "official" or "jacobgil", see the module.

    Raises:
        InputError: unknown rule.
    """
    check_rule(rule)
    alpha = _ALPHAS[rule](gradients, jnp.sum(activations, _PLACES, keepdims=True))
    return jnp.sum(alpha * jnp.maximum(gradients, 0), _PLACES)


def class_map(
    activations: Float[Array, "*b h w c"], gradients: Float[Array, "*b h w c"], rule: str = "official"
) -> Float[Array, "*b h w"]:
    """Returns the map of the class, the positive part of the weighted sum of the channels, of any scale.

    Args:
        activations, gradients, rule: see `channel_weights`.

    Raises:
        InputError: unknown rule.
    """
    weights = channel_weights(activations, gradients, rule)
    return jnp.maximum(jnp.einsum("...hwc,...c->...hw", activations, weights), 0)


def normalised(raw: Float[Array, "*b h w"], rule: str = "official") -> Float[Array, "*b h w"]:
    """Returns a class map in [0, 1], scaled as its rule says; one without positive values stays zero.

    Raises:
        InputError: unknown rule.
    """
    check_rule(rule)
    if rule == "official":
        peak = jnp.max(raw, (-2, -1), keepdims=True)
        return raw / jnp.where(peak > 0, peak, 1)
    shifted = raw - jnp.min(raw, (-2, -1), keepdims=True)
    return shifted / (1e-7 + jnp.max(shifted, (-2, -1), keepdims=True))


def check_rule(rule: str) -> None:
    """Raises InputError unless there is such a rule."""
    if rule not in _ALPHAS:
        raise InputError(f"unknown rule of Grad-CAM++ {rule!r}: choose one of {', '.join(_ALPHAS)}")


def _official(g: Float[Array, "*b h w c"], total: Float[Array, "*b 1 1 c"]) -> Float[Array, "*b h w c"]:
    """Returns g^2 / (2 g^2 + g^3 total), divided by g^2: it underflows at gradients of 1e-23."""
    denominator = 2 + g * total
    zero = denominator == 0
    alpha = jnp.where(zero, g * g, 1 / jnp.where(zero, 1, denominator))
    alpha = jnp.where(g == 0, 0, alpha)
    share = jnp.sum(jnp.where(g > 0, alpha, 0), _PLACES, keepdims=True)
    return alpha / jnp.where(share == 0, 1, share)


def _jacobgil(g: Float[Array, "*b h w c"], total: Float[Array, "*b 1 1 c"]) -> Float[Array, "*b h w c"]:
    alpha = g**2 / (2 * g**2 + total * g**3 + 1e-6)
    return jnp.where(g == 0, 0, alpha)


_ALPHAS: dict[str, Callable] = {"official": _official, "jacobgil": _jacobgil}
