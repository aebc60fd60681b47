"""Scores of an audio-visual consistency classifier and of the gate that it controls."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from avsd_jax.scoring.calibration import calibration_error, reliability

GROUPS = {"all": None, "consistent": 1, "inconsistent": 0}
"""Group name -> label of its frames; unlabelled frames (-1) are in `all` only."""


def members(labels: Int[np.ndarray, " n"], group: str) -> Bool[np.ndarray, " n"]:
    """Returns which frames belong to a group."""
    wanted = GROUPS[group]
    return np.ones(len(labels), bool) if wanted is None else labels == wanted


def classifier_scores(
    labels: Int[np.ndarray, " n"], margin: Float[np.ndarray, " n"] | None, gate: Bool[np.ndarray, " n"] | None
) -> dict[str, Any] | None:
    """Computes how well the classifier separates consistent from inconsistent frames.

    Args:
        labels: 1 consistent, 0 inconsistent, -1 unlabelled; only labelled frames are scored.
        margin: logit of "consistent" minus logit of "inconsistent"; None without a classifier.
        gate: whether the audio-visual stream was used; None without a gate.

    Returns:
        None without classifier and gate, otherwise a dictionary of `labelled` (frames), `majority_baseline`
        (accuracy of the more frequent label), `accuracy` (over frames, "micro"), `balanced_accuracy` (mean over the
        two labels), `auc`, `ece` (expected calibration error of the probability of consistency), and `gate_open`
        (fraction of frames, by group). A number that does not exist is None.
    """
    if margin is None and gate is None:
        return None
    known = labels >= 0
    truth = labels[known] == 1
    result: dict[str, Any] = {
        "labelled": int(known.sum()),
        "majority_baseline": _mean(truth) if not known.any() else max(_mean(truth), 1 - _mean(truth)),
        "accuracy": None,
        "balanced_accuracy": None,
        "auc": None,
        "ece": None,
        "gate_open": None,
    }
    if margin is not None:
        right = (margin[known] > 0) == truth
        per_label = [_mean(right[truth]), _mean(right[~truth])]
        result["accuracy"] = _mean(right)
        result["balanced_accuracy"] = None if None in per_label else sum(per_label) / 2
        result["auc"] = rank_auc(margin[known], truth)
        if known.any():
            logits = np.stack([np.zeros_like(margin), margin], axis=-1)
            result["ece"] = calibration_error(reliability(logits, labels))
    if gate is not None:
        result["gate_open"] = {group: _mean(gate[members(labels, group)]) for group in GROUPS}
    return result


def with_macro(
    joined: dict[str, Any] | None, datasets: Mapping[str, Mapping[str, Any] | None] | None = None
) -> dict[str, Any] | None:
    """Returns the scores of a classifier with its `macro_accuracy`, the mean of its accuracies over datasets.

    Args:
        joined: result of `classifier_scores` on the frames of all datasets.
        datasets: those of each dataset; None if there is one. Datasets without labelled frames do not count.
    """
    if joined is None:
        return None
    each = [joined] if datasets is None else [scores for scores in datasets.values() if scores is not None]
    known = [scores["accuracy"] for scores in each if scores["accuracy"] is not None]
    return joined | {"macro_accuracy": _mean(np.array(known))}


def rank_auc(score: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> float | None:
    """Returns P(score of a true one > score of a false one) + P(tie) / 2; None if either kind is missing."""
    # Imported where it is used: scipy.stats takes a second or more, and only classifiers need it.
    from scipy.stats import rankdata

    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return None
    wins = rankdata(score)[truth].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
