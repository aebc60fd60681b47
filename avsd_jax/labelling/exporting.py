"""From labels that people made to labels that datasets are built from, of one annotator or of several together."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int8

from avsd_jax.errors import InputError
from avsd_jax.labelling import annotation
from avsd_jax.labelling.track import CONSISTENT, INCONSISTENT, UNLABELLED, UNSURE
from avsd_jax.sources import label_files


def majority(tracks: Sequence[Int8[np.ndarray, " n"]]) -> Int8[np.ndarray, " n"]:
    """Merges several annotators' labels: each frame gets the label of more than half of those who labelled it.

    "Unsure" counts as a vote. Without such a majority, as with one vote each, the frame is unsure; without any vote it
    is unlabelled.

    Args:
        tracks: one per annotator; per frame -1, 0, 1 or 2.

    Raises:
        InputError: there is none, or their lengths differ.
    """
    if not tracks or len({len(track) for track in tracks}) > 1:
        raise InputError(f"labels of {[len(track) for track in tracks]} frames: give labels of one video to merge them")
    votes = np.stack(tracks)
    labelled = (votes != UNLABELLED).sum(0)
    merged = np.where(labelled == 0, UNLABELLED, UNSURE)
    for label in (INCONSISTENT, CONSISTENT):
        merged = np.where(2 * (votes == label).sum(0) > labelled, label, merged)
    return merged.astype(np.int8)


def table(labels: Int8[np.ndarray, " n"]) -> str:
    """Returns labels as the text of a label file (`avsd_jax.sources.label_files`).

    Frames that are unsure have no label there: they neither train nor score a classifier.

    Args:
        labels: per frame -1, 0, 1 or 2.

    Raises:
        InputError: no frame is consistent or inconsistent.
    """
    return label_files.text(np.where(labels == UNSURE, UNLABELLED, labels).astype(np.int8), "the export")


def read(path: str | Path) -> Int8[np.ndarray, " n"]:
    """Reads the labels of a label file, or of a journal of the Label page, by its suffix; per frame -1, 0, 1 or 2.

    A label file does not tell unsure from unlabelled (-1); a journal does.

    Raises:
        InputError: it cannot be read, or is neither.
    """
    path = Path(path)
    return annotation.read_labels(path) if path.suffix == annotation.SUFFIX else label_files.read(path)
