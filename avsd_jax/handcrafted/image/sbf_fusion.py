"""SBF's training targets without human labels: hand-crafted maps of each image are labelers, fused by their ability.

Zhang, Han, Zhang, "Supervision by fusion", ICCV 2017. Between images, GLAD (`avsd_jax.handcrafted.image.glad`) tells
which maps to trust and which images are easy; inside of an image, the same of its superpixels. Five rounds of training
take more and more of the images. What the public code leaves open is ours and said so below. Done once for a dataset,
on the host.
"""

import dataclasses
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.image import glad
from avsd_jax.handcrafted.image.awsd import awsd
from avsd_jax.handcrafted.image.gbvs import gbvs
from avsd_jax.handcrafted.image.itti import toolbox
from avsd_jax.handcrafted.image.superpixels import felzenszwalb

# Those of a dataset have different sizes.
Maps = Float[np.ndarray, "labelers _ _"]
Image = UInt8[np.ndarray, "_ _ 3"]


@dataclasses.dataclass(frozen=True)
class Round:
    """A round of training.

    Attributes:
        fraction: the easiest part of the images that it keeps.
        between: weight of the fusion between images; the rest is that of the fusion inside of an image.
        binary: whether GrabCut turns targets into 0 and 1.
    """

    fraction: float
    between: float
    binary: bool


ROUNDS = (
    Round(0.35, 0.9, False),
    Round(0.38, 0.9, False),
    Round(0.44, 0.9, True),
    Round(0.52, 0.1, True),
    Round(0.62, 0.1, True),
)


@dataclasses.dataclass(frozen=True)
class Supervision:
    """The targets of a round.

    Attributes:
        kept: positions of the images that are trained on, the easiest first.
        targets: a map in [0, 1] of each.
        weights: of the loss, for each pixel, 0.01 to 1.01.
    """

    kept: Int[np.ndarray, " k"]
    targets: list[Float[np.ndarray, "_ _"]]
    weights: list[Float[np.ndarray, "_ _"]]


def seeds(image: Image) -> Float[np.ndarray, "3 h w"]:
    """Returns three maps of an image to begin with: GBVS, Itti's model and adaptive whitening.

    Which three SBF had is not in its code; these are ours.
    """
    maps = (gbvs(image)["saliency"], toolbox(image)["saliency"], awsd(image[None])["saliency"])
    return np.stack([np.asarray(found) for found in maps])


def supervise(
    images: Sequence[Image],
    maps: Sequence[Maps],
    plan: Round = ROUNDS[0],
    segment: Callable[[Image], Int[np.ndarray, "_ _"]] = felzenszwalb,
) -> Supervision:
    """Fuses the maps of a dataset into the targets of a round.

    Args:
        images: RGB.
        maps: of each image in [0, 1], by the same labelers in the same order. A network's own maps may replace one.
        plan: the round.
        segment: gives the superpixels of an image.

    Raises:
        InputError: no image, or maps that do not fit the images.
    """
    _check(images, maps)
    distances = np.stack([_distances(of_image, np.zeros(of_image.shape[1:], int))[0] for of_image in maps])
    between = _vote(distances)
    kept = np.argsort(-between.log_easiness, kind="stable")[: max(1, round(plan.fraction * len(images)))]
    targets, weights = [], []
    for i in kept:
        inside, easiness = fuse_inside(maps[i], segment(images[i]))
        mixed = plan.between * combine(maps[i], between.ability) + (1 - plan.between) * inside
        target = _min_max(mixed)
        targets.append(grab_cut(images[i], target) if plan.binary else target)
        weights.append(between.easiness[i] * easiness)
    # Over all images, else the easiness of an image would not matter.
    low, high = min(w.min() for w in weights), max(w.max() for w in weights)
    weights = [(w - low) / (high - low) + 0.01 if high > low else np.full_like(w, 1.01) for w in weights]
    return Supervision(kept, targets, weights)


def fuse_inside(
    maps: Maps, segments: Int[np.ndarray, "h w"]
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Returns the fusion of the maps of one image, judged by its superpixels, and the easiness of each pixel's."""
    found = _vote(_distances(maps, segments))
    return combine(maps, found.ability), found.easiness[segments]


def combine(maps: Maps, ability: Float[np.ndarray, " labelers"]) -> Float[np.ndarray, "h w"]:
    """Returns the mean of the maps weighted by ability, where that is positive; if it never is, by 1 / |ability|."""
    weights = np.maximum(ability, 0)
    if not weights.any():
        weights = 1 / np.maximum(np.abs(ability), 1e-6)
    return np.tensordot(weights / weights.sum(), maps, 1)


def grab_cut(image: Image, target: Float[np.ndarray, "h w"], steps: int = 5) -> Float[np.ndarray, "h w"]:
    """Returns 1 on the object and 0 elsewhere, by OpenCV's GrabCut that starts from a map in [0, 1].

    The start is ours: twice the map's mean, 0.95 at most, divides probable object from probable background, 0.05 and
    0.95 the certain ones. Where either side is empty, or the image too small, the division itself is returned.
    """
    above = target >= min(2 * target.mean(), 0.95)
    mask = np.where(above, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    mask[target >= 0.95] = cv2.GC_FGD
    mask[target <= 0.05] = cv2.GC_BGD
    if min(above.sum(), (~above).sum()) < 16:  # each side is a mixture of five colours
        return above.astype(np.float64)
    cv2.setRNGSeed(0)  # its mixtures start from random colours
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(image[..., ::-1]), mask, None, *models, steps, cv2.GC_INIT_WITH_MASK)
    return np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float64)


def _check(images: Sequence[Image], maps: Sequence[Maps]) -> None:
    if not images or len(images) != len(maps):
        raise InputError(f"{len(images)} images and maps of {len(maps)}: give the maps of each image")
    for i, (image, of_image) in enumerate(zip(images, maps, strict=True)):
        if of_image.shape != (len(maps[0]), *image.shape[:2]):
            raise InputError(
                f"image {i} of {image.shape[:2]} has maps of {of_image.shape}: give {len(maps[0])} maps of its size"
            )


def _distances(maps: Maps, segments: Int[np.ndarray, "h w"]) -> Float[np.ndarray, "segments labelers"]:
    """Returns sum |S_j - mean map| / sum of the mean map, of each labeler, over each segment; 0 / 0 is 0."""
    mean = maps.mean(0)
    count = segments.max() + 1

    def total(values: Float[np.ndarray, "h w"]) -> Float[np.ndarray, " segments"]:
        return np.bincount(segments.ravel(), values.ravel(), count)

    mass = np.maximum(total(mean), 1e-12)
    return np.stack([total(np.abs(found - mean)) / mass for found in maps], 1)


def _vote(distances: Float[np.ndarray, "items labelers"]) -> glad.Estimate:
    """Judges items and labelers by how far each map is from the mean map.

    A labeler says 1, this item is easy, if it is not farther than the mean over all items and labelers. The prior of
    class 1 falls with the mean distance of the labelers that are of the majority.
    """
    near: Bool[np.ndarray, "items labelers"] = distances <= distances.mean()
    majority = near.mean(1) >= 0.5
    agree = near == majority[:, None]
    typical = np.sum(distances * agree, 1) / agree.sum(1)
    return glad.estimate(near.astype(np.float64), 1 - typical / (typical.max() + 0.1))


def _min_max(values: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
