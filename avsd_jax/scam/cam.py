"""Class activation maps as 8-bit pictures, by the rules of STANet's releases.

A classifier gives a raw map for each tag. The official data has one category a video; a video with several tags is
treated so that a single one gives the official numbers: its raw map is the largest of those of its tags.
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


def check_rule(rule: str) -> None:
    """Raises InputError unless there is such a rule."""
    if rule not in RULES:
        raise InputError(f"unknown rule of activation maps {rule!r}: choose one of {', '.join(RULES)}")


def picture(
    class_maps: Float[np.ndarray, "h w k"], present: Bool[np.ndarray, " k"], rule: str
) -> UInt8[np.ndarray, "h w"]:
    """One frame's picture: at every place the evidence of that tag of the video which has most.

    Args:
        class_maps: the classifier's raw map of each of K tags, at its own grid.
        present: the tags that the video has, at least one.
        rule: "stretched" (the CVPR network's) or "rectified" (that of 2021 and 2022).

    Raises:
        InputError: an unknown rule, or a video without tags.
    """
    check_rule(rule)
    if not present.any():
        raise InputError("a video has none of the tags that the classifier tells: correct config.tags or the dataset")
    return RULES[rule](class_maps[..., present].max(axis=-1))


def confidence(scores: Float[np.ndarray, " k"], present: Bool[np.ndarray, " k"]) -> float:
    """How sure a classifier is of a frame, 0 where it errs.

    It errs where its best tag is none of the video's. Else it is as sure as the softmax of its scores says of all the
    video's tags together; with a single tag that is the official confidence, the softmax of the best class.

    Args:
        scores: of the K tags.
        present: the tags that the video has.
    """
    if not present[scores.argmax()]:
        return 0.0
    odds = np.exp(np.float64(scores - scores.max()))
    return float(odds[present].sum() / odds.sum())


def enlarged(cam: UInt8[np.ndarray, "h w"], side: int) -> UInt8[np.ndarray, "side side"]:
    """A picture at `side` x `side`, by OpenCV's bilinear filter on 8-bit values as the releases write it."""
    return cv2.resize(cam, (side, side), interpolation=cv2.INTER_LINEAR)
