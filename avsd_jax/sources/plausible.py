"""Plausible ranges of numbers in headers, lines or names of files; others are refused.

They are wide: no real recording is near their limits.
"""

import math
from pathlib import Path

from avsd_jax.errors import InputError

RANGES = {
    "frames per second": (0.5, 1000),
    "frames": (1, 10_000_000),
    "pixels wide": (1, 16_384),
    "pixels high": (1, 16_384),
    "samples per second": (1000, 768_000),
    "channels": (1, 64),
}
"""Minimum and maximum of each quantity."""


def checked(value: float | int, quantity: str, where: str | Path) -> float | int:
    """Returns a number from a file if it is plausible.

    Args:
        value: the number.
        quantity: a key of `RANGES`.
        where: the file, and the line or field in it.

    Raises:
        InputError: it is outside of the range, or not a number; the message names both.
    """
    low, high = RANGES[quantity]
    if not (math.isfinite(value) and low <= value <= high):
        raise InputError(f"{where} says {value:.15g} {quantity}, which is not between {low:g} and {high:g}: correct it")
    return value


def checked_size(size: tuple[int, int], where: str | Path) -> tuple[int, int]:
    """Returns an image's (height, width) if it is plausible.

    Raises:
        InputError: as `checked`.
    """
    checked(size[0], "pixels high", where)
    checked(size[1], "pixels wide", where)
    return size
