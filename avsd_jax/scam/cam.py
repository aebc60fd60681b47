"""Class activation maps as 8-bit pictures, by the rules of STANet's releases.

A classifier gives a raw map for each tag; a video has several tags where the official data has one category a frame.
The picture of a frame shows every tag that the video has, each as far as the classifier believes in it, and is the
official one where there is a single tag.
"""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from avsd_jax.errors import InputError


def stretched(raw: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """The first release's rule: from the lowest to the highest value, 255 times, truncated. A constant map is black."""
    shifted = raw - raw.min()
    peak = shifted.max()
    return np.uint8(255 * (shifted / peak)) if peak > 0 else np.zeros(raw.shape, np.uint8)


def rectified(raw: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """The later releases' rule: negative values are cut off, then 255 times the share of the highest one, rounded."""
    positive = np.maximum(raw, 0)
    return np.uint8(np.rint(255 * (positive / (positive.max() + 1e-8))))


RULES: dict[str, Callable[[Float[np.ndarray, "h w"]], UInt8[np.ndarray, "h w"]]] = {
    "stretched": stretched,
    "rectified": rectified,
}


def picture(
    class_maps: Float[np.ndarray, "h w k"],
    probabilities: Float[np.ndarray, " k"],
    present: Bool[np.ndarray, " k"],
    rule: str,
) -> UInt8[np.ndarray, "h w"]:
    """One frame's picture: the largest of its tags' pictures, each weighed by its probability over the largest one's.

    Args:
        class_maps: the classifier's raw map of each of K tags, at its own grid.
        probabilities: of each tag.
        present: the tags that the video has, at least one.
        rule: "stretched" (the CVPR network's) or "rectified" (that of 2021 and 2022).

    Raises:
        InputError: an unknown rule, or a video without tags.
    """
    if rule not in RULES:
        raise InputError(f"unknown rule of activation maps {rule!r}: choose one of {', '.join(RULES)}")
    if not present.any():
        raise InputError("a video has none of the tags that the classifier tells: correct config.tags or the dataset")
    pictures = np.stack([RULES[rule](class_maps[..., k]) for k in np.flatnonzero(present)])
    weights = probabilities[present] / max(float(probabilities[present].max()), 1e-12)
    return np.uint8(np.rint((pictures * weights[:, None, None]).max(axis=0)))


def enlarged(cam: UInt8[np.ndarray, "h w"], side: int) -> UInt8[np.ndarray, "side side"]:
    """A picture at `side` x `side`, by OpenCV's bilinear filter on 8-bit values as the releases write it."""
    return cv2.resize(cam, (side, side), interpolation=cv2.INTER_LINEAR)
