"""Colour in saliency maps: grey maps in three channels are accepted, heat maps only with an explicit rule.

The first channel, or the mean, of a heat map differs from its levels: jet's red decreases where the map
peaks. `--colour_maps` therefore takes

  refuse           the default: a map in colour is an error that names the fix
  luminance        0.299 R + 0.587 G + 0.114 B, for maps whose brightness is the saliency
  colormap:NAME    the level whose colour in OpenCV's colour map NAME (jet, hot, viridis, ...) is nearest
"""

import functools
from collections import Counter

import cv2
import numpy as np
from jaxtyping import Num, UInt8

from avsd_jax.errors import InputError

REFUSE, LUMINANCE, COLORMAP = "refuse", "luminance", "colormap:"

# The largest difference between the channels of a grey pixel, as a fraction of the full range: JPEG and video codecs
# leave noise, and the darkest colours of the usual colour maps are farther apart.
_GREY_GAP = 8 / 255
# Mean distance to a colour map's colours, in levels of 255, up to which an image is assumed to be drawn with it: JPEGs
# of smooth maps have 1 to 7, of noisy ones up to 11; maps blended equally with a frame have 37 and more, other
# colour maps 30 and more.
_DRAWN_WITH = 12.0
_SAMPLE = 2000
_MOSTLY = 0.9
# The two ends of these have the same colour, so that levels cannot be recovered.
_CYCLIC = ("hsv", "twilight", "twilight_shifted")
# Pillow's weights of red, green and blue, in 1/65536: equal channels keep their value exactly.
_LUMINANCE = (19595, 38470, 7471)


def colour_maps() -> tuple[str, ...]:
    """Returns the names that `colormap:NAME` takes."""
    names = (name.removeprefix("COLORMAP_").lower() for name in dir(cv2) if name.startswith("COLORMAP_"))
    return tuple(sorted(name for name in names if name not in _CYCLIC))


def check_rule(rule: str) -> str:
    """Checks and returns a value of `--colour_maps`.

    Raises:
        InputError: it is not one of the choices; the message lists them.
    """
    name = rule.removeprefix(COLORMAP)
    if rule in (REFUSE, LUMINANCE) or (rule.startswith(COLORMAP) and name in colour_maps()):
        return rule
    if name in _CYCLIC:
        raise InputError(f"colour_maps {rule!r}: both ends of {name} have one colour, its levels cannot be read back")
    raise InputError(
        f"unknown colour_maps {rule!r}: choose refuse, luminance or colormap:NAME, NAME one of "
        f"{', '.join(colour_maps())}"
    )


def is_grey(values: Num[np.ndarray, "h w 3"]) -> bool:
    """Returns whether the three channels are equal, but for what a codec changes."""
    return float((values.max(axis=-1) - values.min(axis=-1)).max()) <= _GREY_GAP * _full(values)


def grey(values: Num[np.ndarray, "h w c"], rule: str, where: str, notes: Counter[str]) -> Num[np.ndarray, "h w"]:
    """Returns the one channel that a map of one to four channels holds.

    Args:
        values: grey, grey and alpha, RGB, or RGB and alpha.
        rule: how colours are read, as `check_rule` takes it.
        where: the file, for messages.
        notes: counts the conversions that are reported.

    Raises:
        InputError: it is in colour and `rule` is "refuse", its colours are not of the named colour map, or its
            transparency varies.
    """
    channels = values.shape[-1]
    if channels in (2, 4):
        _check_alpha(values[..., -1], where, notes)
    if channels <= 2:
        return values[..., 0]
    colours = values[..., :3]
    gap = float((colours.max(axis=-1) - colours.min(axis=-1)).max())
    if gap == 0:
        return colours[..., 0]
    if gap <= _GREY_GAP * _full(colours):
        return _luminance(colours)
    if rule == LUMINANCE:
        notes["maps in colour read by their luminance"] += 1
        return _luminance(colours)
    levels = _levels(colours)
    if rule == REFUSE:
        raise InputError(f"{where} is in colour{_drawn_with(levels)}")
    return _read_back(levels, rule.removeprefix(COLORMAP), where, notes)


def _check_alpha(alpha: Num[np.ndarray, "h w"], where: str, notes: Counter[str]) -> None:
    if alpha.min() != alpha.max():
        raise InputError(
            f"{where} has transparency that varies: what it shows depends on the background; write it without alpha"
        )
    if alpha.min() != _full(alpha):
        notes["maps with a constant alpha, which is ignored"] += 1


def _full(values: Num[np.ndarray, "..."]) -> float:
    """Returns the maximum of an integer type; for floats, the greatest magnitude present."""
    return float(np.iinfo(values.dtype).max if values.dtype.kind == "u" else np.abs(values).max())


def _luminance(colours: Num[np.ndarray, "h w 3"]) -> Num[np.ndarray, "h w"]:
    kind = np.uint64 if colours.dtype.kind == "u" else np.float64
    weighted = [colours[..., i] * kind(weight) for i, weight in enumerate(_LUMINANCE)]
    if colours.dtype.kind == "u":
        return ((sum(weighted) + np.uint64(1 << 15)) >> np.uint64(16)).astype(colours.dtype)
    return sum(weighted) / 65536


def _levels(colours: Num[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Returns colours as 8-bit levels."""
    if colours.dtype == np.uint8:
        return colours
    top = _full(colours) if colours.dtype.kind == "u" else (1.0 if colours.max() <= 1 else 255.0)
    return np.clip(np.round(colours.astype(np.float64) * (255 / top)), 0, 255).astype(np.uint8)


@functools.cache
def _table(name: str) -> UInt8[np.ndarray, "256 3"]:
    """Returns the colours, RGB, of OpenCV's colour map."""
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    return np.ascontiguousarray(cv2.applyColorMap(ramp, getattr(cv2, f"COLORMAP_{name.upper()}"))[:, 0, ::-1])


def _nearest(colours: UInt8[np.ndarray, "n 3"], name: str) -> tuple[UInt8[np.ndarray, " n"], float]:
    """Returns the level with the colour nearest to each given one, and the mean distance of the two."""
    from scipy.spatial import KDTree  # half a second to import, only needed for maps in colour

    packed = colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    distinct, place, count = np.unique(packed, return_inverse=True, return_counts=True)
    points = np.stack([distinct >> 16, (distinct >> 8) & 255, distinct & 255], axis=-1)
    distance, level = KDTree(_table(name)).query(points)
    return level.astype(np.uint8)[place], float((distance * count).sum() / count.sum())


def _read_back(
    colours: UInt8[np.ndarray, "h w 3"], name: str, where: str, notes: Counter[str]
) -> UInt8[np.ndarray, "h w"]:
    level, distance = _nearest(colours.reshape(-1, 3), name)
    if distance > _DRAWN_WITH:
        raise InputError(f"{where} has other colours than those of the colour map {name}{_drawn_with(colours)}")
    notes[f"maps in colour read back by the colour map {name}"] += 1
    return level.reshape(colours.shape[:2])


def _drawn_with(colours: UInt8[np.ndarray, "h w 3"]) -> str:
    """Describes what an image in colour seems to be, and the fix."""
    pixels = colours.reshape(-1, 3)
    sample = pixels[:: max(1, len(pixels) // _SAMPLE)]
    if (np.ptp(sample, axis=-1) <= 255 * _GREY_GAP).mean() > _MOSTLY:
        return " at some pixels and grey elsewhere (a mark, or text?): write the maps as one grey channel"
    distance, name = min((_nearest(sample, name)[1], name) for name in colour_maps())
    fix = "write the maps as one grey channel, or say --colour_maps=luminance or --colour_maps=colormap:NAME"
    if distance > _DRAWN_WITH:
        return f" (of no colour map that is known; a map blended with a frame cannot be scored): {fix}"
    return f" (a heat map: {name}?): {fix.replace('NAME', name)}"
