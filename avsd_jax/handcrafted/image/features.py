"""The feature maps of GBVS and of the toolbox's Itti-Koch model, at one level of a pyramid of RGB and max(R, G, B)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from avsd_jax.handcrafted.image.dkl import dkl
from avsd_jax.handcrafted.image.gabor import energy, toolbox_bank
from avsd_jax.handcrafted.image.maps import fade_borders, replicate

# A Gabor filter's own half size: what it sees beyond the border is invented.
ORIENTATION_FADE = 13


def with_lightness(rgb: Float[Array, "*b 3 h w"]) -> Float[Array, "*b 4 h w"]:
    """Appends max(R, G, B), which the pyramid halves on its own."""
    return jnp.concatenate([rgb, jnp.max(rgb, -3, keepdims=True)], -3)


def colour(level: Float[Array, "*b 4 h w"]) -> Float[Array, "*b 2 h w"]:
    """Returns |B - min(R, G)| / L and |R - G| / L; 0 where L = 0."""
    red, green, blue, light = (level[..., c, :, :] for c in range(4))
    opponents = jnp.stack([jnp.abs(blue - jnp.minimum(red, green)), jnp.abs(red - green)], -3)
    light = light[..., None, :, :]
    return jnp.where(light > 0, opponents / jnp.where(light > 0, light, 1), 0)


def dkl_colour(level: Float[Array, "*b 4 h w"]) -> Float[Array, "*b 3 h w"]:
    """Returns the three DKL colours."""
    return dkl(level[..., :3, :, :])


def intensity(level: Float[Array, "*b 4 h w"]) -> Float[Array, "*b 1 h w"]:
    """Returns L."""
    return level[..., 3:, :, :]


def orientation(level: Float[Array, "*b 4 h w"], angles: tuple[int | float, ...]) -> Float[Array, "*b n h w"]:
    """Returns the Gabor energy of L at these angles (degrees), faded towards the borders."""
    return fade_borders(energy(level[..., 3, :, :], toolbox_bank(angles)), ORIENTATION_FADE)


def contrast(level: Float[Array, "*b 4 h w"], window: float) -> Float[Array, "*b 1 h w"]:
    """Returns the variance of L in a square of `window` times the map's width, rounded up to an odd side."""
    side = 2 * (round(window * level.shape[-1]) // 2) + 1
    light = level[..., 3:, :, :]
    # The variance of what is about zero loses no digits.
    padded = replicate(light - jnp.mean(light, (-2, -1), keepdims=True), side // 2)
    mean = _box_mean(padded, side)
    return jnp.maximum(_box_mean(padded**2, side) - mean**2, 0)


def flicker(level: Float[Array, "*b 4 h w"], previous: Float[Array, "*b 4 h w"]) -> Float[Array, "*b 1 h w"]:
    """Returns how much L changed since the previous frame."""
    return jnp.abs(intensity(level) - intensity(previous))


def motion(
    level: Float[Array, "*b 4 h w"], previous: Float[Array, "*b 4 h w"], angles: tuple[int | float, ...]
) -> Float[Array, "*b n h w"]:
    """Returns Reichardt's |L_t S(L_t-1) - L_t-1 S(L_t)|, S a shift by one pixel at each angle (degrees)."""
    now, before = level[..., 3, :, :], previous[..., 3, :, :]
    return jnp.stack([jnp.abs(now * _shift(before, a) - before * _shift(now, a)) for a in angles], -3)


def _shift(maps: Float[Array, "*b h w"], angle: int | float) -> Float[Array, "*b h w"]:
    """Shifts by one pixel, 0 degrees to the right and 90 upwards, bilinearly; borders replicated."""
    right, up = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return _shift_last(_shift_last(maps, right).mT, -up).mT


def _shift_last(maps: Float[Array, "*b h w"], by: float) -> Float[Array, "*b h w"]:
    side = maps.shape[-1]
    index = np.arange(side)
    away = jnp.take(maps, np.clip(index - int(np.sign(np.round(by, 9))), 0, side - 1), axis=-1)
    return (1 - abs(by)) * maps + abs(by) * away


def _box_mean(padded: Float[Array, "*b h w"], side: int) -> Float[Array, "*b h2 w2"]:
    window = (1,) * (padded.ndim - 2) + (side, side)
    total = jax.lax.reduce_window(padded, 0.0, jax.lax.add, window, (1,) * padded.ndim, "VALID")
    return total / side**2
