"""Fusion by temporal correlation: a place counts as far as it varies with the audio (survey, IV.B, [144, 145])."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.normalise import as_float, constant

WINDOW = 16
RULES = ("rectified", "half")


def pearson(x: Num[Array | np.ndarray, "*b t"], y: Num[Array | np.ndarray, "*c t"]) -> Float[Array, "*d"]:
    """Computes Pearson's correlation over the last axis; 0 if a signal is constant.

    Args:
        x, y: T samples each; leading axes are broadcast.
    """
    x, y = as_float(x, y)
    varies = ~(constant(x, -1) | constant(y, -1))[..., 0]
    x, y = _standardised(x), _standardised(y)
    return jnp.where(varies, jnp.clip(jnp.sum(x * y, -1), -1, 1), 0)


def _standardised(x: Float[Array, "*b t"]) -> Float[Array, "*b t"]:
    """Returns `x` with mean 0 and norm 1; scaled first, so that squares neither overflow nor vanish."""
    x = x - jnp.mean(x, -1, keepdims=True)
    peak = jnp.max(jnp.abs(x), -1, keepdims=True)
    x = x / jnp.where(peak > 0, peak, 1)
    norm = jnp.linalg.norm(x, axis=-1, keepdims=True)
    return x / jnp.where(norm > 0, norm, 1)


def correlation_map(
    visual: Num[Array | np.ndarray, "*b t h w"], audio: Num[Array | np.ndarray, "*b t"]
) -> Float[Array, "*b h w"]:
    """Computes r(x), the correlation of the visual saliency at each place with the audio curve over all T frames.

    Returns:
        Values in [-1, 1]; 0 where either is constant, as with a single frame.
    """
    visual, audio = as_float(visual, audio)
    return pearson(jnp.moveaxis(visual, -3, -1), audio[..., None, None, :])


def sliding(
    score: Callable[[Float[Array, "*b n h w"], Float[Array, "*b n q"]], Float[Array, "*b h w"]],
    visual: Num[Array | np.ndarray, "*b t h w"],
    audio: Num[Array | np.ndarray, "*b t q"],
    window: int = WINDOW,
) -> Float[Array, "*b t h w"]:
    """Applies a score of maps and audio to a window around every frame.

    The window of frame t is centred on it, and moved inwards at the ends of the clip, so that all have the same
    length; a clip shorter than it is one window. Memory is that of one window, not of all.

    Args:
        score: of the frames of a window.
        visual: T maps.
        audio: Q features of each frame.
        window: N frames.

    Raises:
        InputError: the window has no frames.
    """
    if window < 1:
        raise InputError(f"window={window}: give at least one frame, and 2 for a correlation")
    visual, audio = as_float(visual, audio)
    frames = visual.shape[-3]
    window = min(window, frames)
    starts = jnp.clip(jnp.arange(frames) - window // 2, 0, frames - window)

    def at(start: Array) -> Array:
        part = jax.lax.dynamic_slice_in_dim(visual, start, window, visual.ndim - 3)
        heard = jax.lax.dynamic_slice_in_dim(audio, start, window, audio.ndim - 2)
        return score(part, heard)

    return jnp.moveaxis(jax.lax.map(at, starts), 0, -3)


def sliding_correlation(
    visual: Num[Array | np.ndarray, "*b t h w"], audio: Num[Array | np.ndarray, "*b t"], window: int = WINDOW
) -> Float[Array, "*b t h w"]:
    """Computes r(x, t), the correlation in a window around each frame (see `sliding`).

    Raises:
        InputError: the window has no frames.
    """
    (audio,) = as_float(audio)
    return sliding(lambda v, a: correlation_map(v, a[..., 0]), visual, audio[..., None], window)


def fuse(
    visual: Num[Array | np.ndarray, "*b t h w"],
    audio: Num[Array | np.ndarray, "*b t"],
    window: int = WINDOW,
    rule: str = "rectified",
) -> Float[Array, "*b t h w"]:
    """Fuses visual saliency with an audio curve: S = V max(0, r) ("rectified") or V (1 + r) / 2 ("half").

    Raises:
        InputError: an unknown rule, or a window without frames.
    """
    if rule not in RULES:
        raise InputError(f"unknown rule {rule!r} of correlation fusion: choose one of {', '.join(RULES)}")
    visual, audio = as_float(visual, audio)
    r = sliding_correlation(visual, audio, window)
    return visual * (jnp.maximum(r, 0) if rule == "rectified" else (1 + r) / 2)
