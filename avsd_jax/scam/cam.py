"""Class activation maps as 8-bit images, by the rules of STANet's releases.

A classifier gives a raw map for each tag. The official data has one category per video; for a video with several tags
the raw map is the maximum over its tags, which for a single tag gives the official numbers.
"""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from avsd_jax.errors import InputError


def stretched(raw: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Applies the first release's rule: min-max normalised to 0..255, truncated. A constant map is black."""
    shifted = raw - raw.min()
    peak = shifted.max()
    return np.uint8(255 * (shifted / peak)) if peak > 0 else np.zeros(raw.shape, np.uint8)


def rectified(raw: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Applies the later releases' rule: negative values set to 0, scaled to a maximum of 255, rounded."""
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


def activation_image(
    class_maps: Float[np.ndarray, "h w k"], present: Bool[np.ndarray, " k"], rule: str
) -> UInt8[np.ndarray, "h w"]:
    """Computes one frame's image: at every location the maximum evidence over the video's tags.

    Args:
        class_maps: the classifier's raw map of each of K tags, on its own grid.
        present: the tags that the video has, at least one.
        rule: "stretched" (the CVPR network's) or "rectified" (that of 2021 and 2022).

    Raises:
        InputError: an unknown rule, or a video without tags.
    """
    check_rule(rule)
    if not present.any():
        raise InputError("a video has none of the tags of the classifier: correct config.tags or the dataset")
    return RULES[rule](class_maps[..., present].max(axis=-1))


def confidence(scores: Float[np.ndarray, " k"], present: Bool[np.ndarray, " k"]) -> float:
    """Computes the confidence of a classifier for a frame, 0 if it is wrong.

    It is wrong if its best tag is not one of the video's. Otherwise the confidence is the sum of the softmax over the
    video's tags; with a single tag that is the official confidence, the softmax of the best class.

    Args:
        scores: of the K tags.
        present: the tags that the video has.
    """
    if not present[scores.argmax()]:
        return 0.0
    odds = np.exp(np.float64(scores - scores.max()))
    return float(odds[present].sum() / odds.sum())


def enlarged(cam: UInt8[np.ndarray, "h w"], side: int) -> UInt8[np.ndarray, "side side"]:
    """Resizes an image to `side` x `side`, by OpenCV's bilinear filter on 8-bit values as in the releases."""
    return cv2.resize(cam, (side, side), interpolation=cv2.INTER_LINEAR)
