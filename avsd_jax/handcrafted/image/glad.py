"""GLAD: how able labelers are and how easy items are, from their labels alone.

Whitehill et al., "Whose vote should count more", NIPS 2009. Item i is of class z_i, 0 or 1; labeler j says so with the
probability sigmoid(a_j exp(b_i)), a_j its ability, below 0 if it misleads, and exp(b_i) the item's easiness.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.optimize import minimize
from scipy.special import expit, log_expit

# No prior leads so far; a step of the search may.
_LARGEST_LOG = 20.0
# A maximisation that ends early would make the outer steps' changes those of its rounding.
_INNER = {"ftol": 1e-13, "gtol": 1e-8}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What `estimate` found.

    Attributes:
        ability: a of each labeler, 0 for one that guesses.
        log_easiness: b of each item.
        posterior: probability of class 1 of each item.
    """

    ability: Float[np.ndarray, " labelers"]
    log_easiness: Float[np.ndarray, " items"]
    posterior: Float[np.ndarray, " items"]

    @property
    def easiness(self) -> Float[np.ndarray, " items"]:
        """Returns exp(b)."""
        return np.exp(self.log_easiness)


def estimate(
    labels: Num[np.ndarray, "items labelers"],
    prior: Float[np.ndarray, " items"],
    ability_prior: float = 1.0,
    log_easiness_prior: float = 1.5,
    tolerance: float = 1e-10,
    most_steps: int = 1000,
) -> Estimate:
    """Estimates abilities and easiness by expectation maximisation.

    Args:
        labels: 0 or 1.
        prior: probability of class 1 of each item.
        ability_prior, log_easiness_prior: means of their normal priors, of unit variance, and the first guess.
        tolerance: it ends once the expected log likelihood changes by at most this fraction.
        most_steps: it ends after so many steps in any case.
    """
    items, labelers = labels.shape
    says_one = labels > 0.5
    prior = np.clip(prior, 1e-9, 1 - 1e-9)
    centre = np.concatenate([np.full(labelers, ability_prior), np.full(items, log_easiness_prior)])
    found, value = centre, 0.0
    for _ in range(most_steps):
        posterior = _posterior(found, says_one, prior)
        right = np.where(says_one, posterior[:, None], 1 - posterior[:, None])
        # The part of the prior of classes does not depend on what is sought.
        classes = np.sum(posterior * np.log(prior) + (1 - posterior) * np.log1p(-prior))
        best = minimize(_negative, found, (right, centre), jac=True, method="L-BFGS-B", options=_INNER)
        found, before, value = best.x, value, classes - best.fun
        if abs(value - before) <= tolerance * abs(before):
            break
    return Estimate(found[:labelers], found[labelers:], _posterior(found, says_one, prior))


def _posterior(
    found: Float[np.ndarray, " k"], says_one: Bool[np.ndarray, "items labelers"], prior: Float[np.ndarray, " items"]
) -> Float[np.ndarray, " items"]:
    labelers = says_one.shape[1]
    strength = found[:labelers] * np.exp(found[labelers:, None])
    evidence = np.sum(np.where(says_one, 1, -1) * (log_expit(strength) - log_expit(-strength)), 1)
    return expit(np.log(prior) - np.log1p(-prior) + evidence)


def _negative(
    found: Float[np.ndarray, " k"], right: Float[np.ndarray, "items labelers"], centre: Float[np.ndarray, " k"]
) -> tuple[float, Float[np.ndarray, " k"]]:
    """Returns the negative expected log likelihood with the priors, and its gradient; `right` as label by label."""
    labelers = right.shape[1]
    ability, easiness = found[:labelers], np.exp(np.minimum(found[labelers:, None], _LARGEST_LOG))
    strength = ability * easiness
    value = np.sum(right * log_expit(strength) + (1 - right) * log_expit(-strength)) - np.sum((found - centre) ** 2) / 2
    slope = (right - expit(strength)) * easiness
    gradient = np.concatenate([slope.sum(0), (slope * ability).sum(1)]) - (found - centre)
    return -value, -gradient
