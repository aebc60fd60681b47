"""Calibration of a classifier's probabilities: one temperature, and how far probabilities are from frequencies."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from avsd_jax.errors import InputError

# Temperatures beyond are not told apart: the frames that are labelled do not bound them.
_LOWEST, _HIGHEST = 1e-2, 1e2
BINS = 15


class Bin(NamedTuple):
    """Frames of about the same probability.

    Attributes:
        count: how many.
        probability: their mean probability of consistency.
        frequency: the share of them that is consistent.
    """

    count: int
    probability: float
    frequency: float


def calibrate(logits: Float[np.ndarray, "n 2"], labels: Int[np.ndarray, " n"]) -> float:
    """Returns the temperature by which to divide logits so that their softmax is most likely (Guo et al., ICML 2017).

    It changes no decision at 0.5 and no ranking. Find it on frames that the classifier was not trained on.

    Args:
        logits: of inconsistent (class 0) and consistent (class 1).
        labels: 1 consistent, 0 inconsistent, -1 unlabelled; only labelled frames count.

    Returns:
        The temperature, from 0.01 (of logits that are all right) to 100 (of logits that say nothing).

    Raises:
        InputError: no frame is labelled, or a logit is not finite.
    """
    # Imported where it is used: it takes long, and only calibration needs it.
    from scipy.optimize import minimize_scalar

    margin, truth = _labelled(logits, labels)
    bounds = np.log(_LOWEST), np.log(_HIGHEST)
    signed = np.where(truth, margin, -margin)

    def loss(log_temperature: float) -> float:
        # Convex in 1 / temperature, so with a single minimum in its logarithm, too.
        return np.logaddexp(0.0, -signed / np.exp(log_temperature)).mean()

    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))


def reliability(logits: Float[np.ndarray, "n 2"], labels: Int[np.ndarray, " n"], bins: int = BINS) -> list[Bin]:
    """Returns probability and frequency of consistency in bins of equal width; empty bins are left out.

    Args:
        logits: of inconsistent (class 0) and consistent (class 1), divided by the temperature, if there is one.
        labels: 1 consistent, 0 inconsistent, -1 unlabelled; only labelled frames count.
        bins: their number.

    Raises:
        InputError: no frame is labelled, or a logit is not finite.
    """
    margin, truth = _labelled(logits, labels)
    probability = np.exp(-np.logaddexp(0.0, -margin))
    place = np.minimum((probability * bins).astype(int), bins - 1)
    members = (place == number for number in range(bins))
    return [Bin(int(m.sum()), float(probability[m].mean()), float(truth[m].mean())) for m in members if m.any()]


def calibration_error(bins: list[Bin]) -> float:
    """Returns the expected calibration error, in [0, 1]: the frames' mean |probability - frequency|, by bin.

    It is that of the probability of class 1, the usual one for two classes (Naeini et al., AAAI 2015).
    """
    return sum(b.count * abs(b.probability - b.frequency) for b in bins) / sum(b.count for b in bins)


def _labelled(
    logits: Float[np.ndarray, "n 2"], labels: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " m"], np.ndarray]:
    """Returns logit of consistent minus that of inconsistent, and whether it is, of the labelled frames."""
    known = labels >= 0
    if not known.any():
        raise InputError("no frame has a label of consistency: calibration needs a dataset with labels")
    margin = logits[known, 1].astype(np.float64) - logits[known, 0]
    if not np.isfinite(margin).all():
        raise InputError("the classifier gives values that are not finite: train it again")
    return margin, labels[known] == 1
