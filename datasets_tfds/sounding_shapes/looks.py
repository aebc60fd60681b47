"""Appearance of the six classes: outline, hue and texture.

A point of a shape has the coordinates (u, v), in units of the shape's radius, v down. The outlines
are scaled so that all classes cover about the same area (that of a disc of radius 0.95).
"""

import dataclasses

import numpy as np
from jaxtyping import Float

CLASSES = ("disc", "square", "triangle", "star", "ring", "cross")
EXTENT = 1.5  # no outline reaches farther from the centre than this, in radii

_HUES = (0.0, 52.0, 125.0, 185.0, 235.0, 305.0)  # degrees
_HUE_JITTER = 8.0  # degrees, uniform
_TEXTURES = ("stripes", "checks", "noise", "stripes", "checks", "noise")


@dataclasses.dataclass(frozen=True)
class Look:
    """The look of one shape of one video.

    Attributes:
        kind: index into `CLASSES`.
        rgb: fully saturated colour, each channel in [0, 1].
        waves: rows (frequency along u, along v, phase) of the texture, radians per radius.
    """

    kind: int
    rgb: Float[np.ndarray, "3"]
    waves: Float[np.ndarray, "m 3"]


def draw_look(kind: int, rng: np.random.Generator) -> Look:
    """Draws one specimen of class `kind`: its hue and its texture's direction, scale and phase."""
    hue = _HUES[kind] + rng.uniform(-_HUE_JITTER, _HUE_JITTER)
    if _TEXTURES[kind] == "noise":
        angles = rng.uniform(0, 2 * np.pi, 6)
        frequencies = rng.uniform(3, 9, 6)
    else:
        angles = rng.uniform(0, np.pi) + np.array([0, np.pi / 2])
        frequencies = np.full(2, rng.uniform(5, 8))
    phases = rng.uniform(0, 2 * np.pi, len(angles))
    waves = np.stack([frequencies * np.cos(angles), frequencies * np.sin(angles), phases], axis=1)
    return Look(kind=kind, rgb=_hue_to_rgb(hue), waves=waves.astype(np.float32))


def signed_distance(
    kind: int, u: Float[np.ndarray, "*points"], v: Float[np.ndarray, "*points"]
) -> Float[np.ndarray, "*points"]:
    """Returns the distance to the outline of class `kind` in radii, negative inside (exact near the outline)."""
    match CLASSES[kind]:
        case "disc":
            return np.hypot(u, v) - np.float32(0.95)
        case "square":
            return np.maximum(np.abs(u), np.abs(v)) - np.float32(0.85)
        case "triangle":
            slanted = np.float32(np.sqrt(3) / 2) * np.abs(u) - np.float32(0.5) * v
            return np.maximum(slanted, v) - np.float32(0.72)
        case "star":
            return _star_distance(u, v, tip=1.4, notch=0.68)
        case "ring":
            return np.abs(np.hypot(u, v) - np.float32(0.85)) - np.float32(0.28)
        case _:
            long, short = np.float32(1.15), np.float32(0.42)
            upright = np.maximum(np.abs(u) - short, np.abs(v) - long)
            level = np.maximum(np.abs(u) - long, np.abs(v) - short)
            return np.minimum(upright, level)


def texture(
    look: Look, u: Float[np.ndarray, "*points"], v: Float[np.ndarray, "*points"]
) -> Float[np.ndarray, "*points"]:
    """Returns the texture of `look` in [-1, 1]."""
    waves = [np.sin(fu * u + fv * v + phase) for fu, fv, phase in look.waves]
    match _TEXTURES[look.kind]:
        case "stripes":
            value = 3 * waves[0]
        case "checks":
            value = 4 * waves[0] * waves[1]
        case _:
            value = sum(waves)
    return np.clip(value, -1, 1)


def _star_distance(u: np.ndarray, v: np.ndarray, tip: float, notch: float) -> np.ndarray:
    """Returns the signed distance to a five-pointed star with outer radius `tip` and inner radius `notch`."""
    half = np.pi / 5
    # Fold the plane into the wedge between a tip (angle 0) and the notch beside it (angle `half`).
    angle = np.abs(np.mod(np.arctan2(u, -v), np.float32(2 * half)) - np.float32(half))
    angle = np.float32(half) - angle
    radius = np.hypot(u, v)
    normal = np.array([notch * np.sin(half), tip - notch * np.cos(half)])
    normal = (normal / np.hypot(*normal)).astype(np.float32)
    return normal[0] * (radius * np.cos(angle) - np.float32(tip)) + normal[1] * radius * np.sin(angle)


def _hue_to_rgb(degrees: float) -> np.ndarray:
    """Returns the fully saturated colour of full value."""
    sector = (np.array([5.0, 3.0, 1.0]) + degrees / 60) % 6
    return 1 - np.clip(np.minimum(sector, 4 - sector), 0, 1)
