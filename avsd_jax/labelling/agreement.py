"""Agreement of two annotators by Cohen's kappa, frame by frame and segment by segment.

J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20 (1960): with
p_o the share of units that have the same label and p_e what is expected of two that label independently, each label as
often as they do, kappa = (p_o - p_e) / (1 - p_e). Where both gave one and the same label throughout, p_e is 1, and
kappa is undefined.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int8

from avsd_jax.errors import InputError
from avsd_jax.labelling.track import CONSISTENT, INCONSISTENT, UNLABELLED, UNSURE

_DECIDED = (INCONSISTENT, CONSISTENT)
_WITH_UNSURE = (*_DECIDED, UNSURE)

NOTHING_SHARED = "nothing has a label of both"
ONE_LABEL = "both gave one and the same label throughout"


class Agreement(NamedTuple):
    """Agreement on a number of units.

    Attributes:
        units: those that both labelled.
        observed: share of them with the same label; None if there are none.
        kappa: Cohen's; None if it is undefined.
        undefined: why it is; None if it is not.
    """

    units: int
    observed: float | None
    kappa: float | None
    undefined: str | None


class Comparison(NamedTuple):
    """Agreement of two annotators on a video.

    Attributes:
        frames: on the frames that both decided, consistent or inconsistent; all others are left out.
        segments: likewise on segments.
        frames_unsure: on the frames that both labelled, unsure being a label of its own; None if nobody was unsure.
        segments_unsure: likewise on segments.
        unsure: numbers of frames on which the first and the second one were unsure.
        unlabelled: numbers of frames that the first and the second one did not label.
    """

    frames: Agreement
    segments: Agreement
    frames_unsure: Agreement | None
    segments_unsure: Agreement | None
    unsure: tuple[int, int]
    unlabelled: tuple[int, int]


def kappa(
    first: Int8[np.ndarray, " n"], second: Int8[np.ndarray, " n"], labels: tuple[int, ...] = _DECIDED
) -> Agreement:
    """Computes Cohen's kappa of two sequences of labels.

    Args:
        first, second: label of each unit.
        labels: the categories; units to which one of both gave another label are left out.
    """
    kept = np.isin(first, labels) & np.isin(second, labels)
    units = int(np.count_nonzero(kept))
    if not units:
        return Agreement(0, None, None, NOTHING_SHARED)
    counts = np.array([[np.count_nonzero((first == a) & (second == b)) for b in labels] for a in labels])
    # In whole numbers: whether p_e is 1 must not depend on rounding.
    same, chance = int(np.trace(counts)), int(counts.sum(1) @ counts.sum(0))
    observed = same / units
    if chance == units * units:
        return Agreement(units, observed, None, ONE_LABEL)
    return Agreement(units, observed, (units * same - chance) / (units * units - chance), None)


def by_segment(labels: Int8[np.ndarray, " n"], segments: Int[np.ndarray, " n"]) -> Int8[np.ndarray, " m"]:
    """Returns the label of each segment: that of most of its labelled frames.

    It is unsure if two labels have equally many, and none (-1) if no frame has one.

    Args:
        labels: per frame.
        segments: number of each frame's segment; m is the highest one and one.
    """
    number = int(segments.max(initial=-1)) + 1
    counts = np.stack([np.bincount(segments[labels == label], minlength=number) for label in _WITH_UNSURE], 1)
    most = counts.max(1)
    several = (counts == most[:, None]).sum(1) > 1
    chosen = np.where(several, UNSURE, np.array(_WITH_UNSURE)[counts.argmax(1)])
    return np.where(most == 0, UNLABELLED, chosen).astype(np.int8)


def compare(
    first: Int8[np.ndarray, " n"], second: Int8[np.ndarray, " m"], segments: Int[np.ndarray, " n"]
) -> Comparison:
    """Compares two annotators' labels of one video.

    Args:
        first, second: per frame -1 none, 0 inconsistent, 1 consistent, 2 unsure.
        segments: number of each frame's segment, such as the second that it begins in.

    Raises:
        InputError: the numbers of frames differ.
    """
    if len(first) != len(second):
        raise InputError(f"{len(first)} and {len(second)} frames are labelled: give labels of one video")
    pairs = ((first, second), (by_segment(first, segments), by_segment(second, segments)))
    unsure = any((labels == UNSURE).any() for pair in pairs for labels in pair)
    frames_unsure, segments_unsure = (kappa(*pair, _WITH_UNSURE) if unsure else None for pair in pairs)
    return Comparison(
        frames=kappa(*pairs[0]),
        segments=kappa(*pairs[1]),
        frames_unsure=frames_unsure,
        segments_unsure=segments_unsure,
        unsure=_counts(first, second, UNSURE),
        unlabelled=_counts(first, second, UNLABELLED),
    )


def _counts(first: Int8[np.ndarray, " n"], second: Int8[np.ndarray, " n"], label: int) -> tuple[int, int]:
    return int(np.count_nonzero(first == label)), int(np.count_nonzero(second == label))
