"""Fusions of a visual map with an audio map or curve, pixel by pixel (survey, IV.B, [135-138, 140, 144]).

An audio curve, one number per frame, is broadcast over the pixels (`over_pixels`). Multiplying by it changes no map's
CC, NSS, AUC or SIM, which do not depend on a map's scale: it matters only to what combines frames.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.normalise import as_float, unit

Maps = Num[Array | np.ndarray, "*b h w"]
Fused = Float[Array, "*d h w"]


def normalised(maps: Maps, flat: float | int = 0.0) -> Float[Array, "*b h w"]:
    """Scales each map to [0, 1]; a constant one becomes `flat`: 0, nothing is salient, or 0.5, nothing is known."""
    return unit(maps, (-2, -1), flat)


def over_pixels(curve: Num[Array | np.ndarray, "*b t"], flat: float | int = 0.0) -> Float[Array, "*b t 1 1"]:
    """Returns an audio curve as maps of one pixel, scaled to [0, 1] over the clip; a constant one becomes `flat`."""
    return unit(curve, -1, flat)[..., None, None]


def product(visual: Maps, audio: Num[Array | np.ndarray, "*c h2 w2"]) -> Fused:
    """Fuses by V A, the "direct" or multiplicative fusion."""
    visual, audio = as_float(visual, audio)
    return visual * audio


def weighted_sum(
    visual: Maps,
    audio: Num[Array | np.ndarray, "*c h2 w2"],
    visual_weight: float | int = 0.5,
    audio_weight: float = 0.5,
) -> Fused:
    """Fuses by wv V + wa A; by default the average."""
    visual, audio = as_float(visual, audio)
    return visual_weight * visual + audio_weight * audio


def maximum(visual: Maps, audio: Num[Array | np.ndarray, "*c h2 w2"]) -> Fused:
    """Fuses by max(V, A)."""
    return jnp.maximum(*as_float(visual, audio))


def minimum(visual: Maps, audio: Num[Array | np.ndarray, "*c h2 w2"]) -> Fused:
    """Fuses by min(V, A)."""
    return jnp.minimum(*as_float(visual, audio))


def probabilistic_sum(visual: Maps, audio: Num[Array | np.ndarray, "*c h2 w2"]) -> Fused:
    """Fuses by V + A - V A: the probability of either, if the two are independent."""
    visual, audio = as_float(visual, audio)
    return visual + audio - visual * audio


def enhanced(visual: Maps, audio: Num[Array | np.ndarray, "*c h2 w2"]) -> Fused:
    """Fuses by V (1 + A): audio raises what is visible and never removes it."""
    visual, audio = as_float(visual, audio)
    return visual * (1 + audio)


def nonlinear(visual: Maps, audio: Num[Array | np.ndarray, "*c h2 w2"]) -> Fused:
    """Fuses by V + A + V A. The survey gives no formula of [140]: this one has its properties, and is unverified."""
    visual, audio = as_float(visual, audio)
    return visual + audio + visual * audio


RULES: dict[str, Callable[..., Fused]] = {
    "product": product,
    "sum": weighted_sum,
    "max": maximum,
    "min": minimum,
    "probabilistic_sum": probabilistic_sum,
    "enhanced": enhanced,
    "nonlinear": nonlinear,
}


def fuse(visual: Maps, audio: Num[Array | np.ndarray, "*c h2 w2"], rule: str) -> Fused:
    """Fuses by the rule of that name, with both normalised before: V per map, A as it is given.

    Args:
        visual: of any scale.
        audio: in [0, 1], a map per frame (`normalised`) or one pixel per frame (`over_pixels`).
        rule: a name in `RULES`.

    Raises:
        InputError: an unknown rule.
    """
    if rule not in RULES:
        raise InputError(f"unknown rule {rule!r} of fusion: choose one of {', '.join(RULES)}")
    return RULES[rule](normalised(visual), audio)
