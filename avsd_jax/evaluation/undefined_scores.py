"""Frames without a score because of their map, which are counted, and omitted, scored as worst or refused.

A constant map has no CC, one with negative values no KL. The published code omits such frames from each metric's
mean, so that a broken model looks no worse; here they are counted with the scores, and the rule can be chosen.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from avsd_jax.errors import InputError
from avsd_jax.evaluation import map_checks
from avsd_jax.scoring.protocols import Protocol

FATES = {
    "dropped": "left out of the means; --undefined=worst counts them, --undefined=error refuses them",
    "worst": "counted as the worst value",
    "error": "refused",
}
"""How such frames are treated, by `Protocol.nan`."""
RULES = {"omit": "dropped", "worst": "worst", "error": "error"}
"""Choices of `--undefined` -> `Protocol.nan`."""


def with_rule(protocol: Protocol, choice: str | None) -> Protocol:
    """Returns a protocol with another rule for frames that have no score because of their map; None: its own.

    Raises:
        InputError: the choice is not in `RULES`.
    """
    if choice is None:
        return protocol
    if choice not in RULES:
        raise InputError(f"unknown undefined {choice!r}: choose one of {', '.join(RULES)}")
    if RULES[choice] == protocol.nan:
        return protocol
    name = f"{protocol.name}, undefined={choice}"
    return dataclasses.replace(protocol, name=name, nan=RULES[choice])


def worst_score(metric: str, pixels: int) -> float:
    """Returns the worst value that a metric can have by its definition.

    Args:
        metric: its name.
        pixels: of the ground truth; NSS is lowest if the only fixated pixel is the only one below all others.

    Raises:
        InputError: the metric is unbounded.
    """
    bounds = {
        "CC": -1.0,
        "SIM": 0.0,
        "AUC-J": 0.0,
        "s-AUC": 0.0,
        "NSS": -(pixels - 1) / pixels**0.5,
        "KL": -math.log(2.0**-52),  # the prediction is zero where the density is not; epsilon as in MIT's KLdiv
    }
    if metric not in bounds:
        raise InputError(f"{metric} has no worst value: score it with --undefined=omit or --undefined=error")
    return bounds[metric]


def penalties(undefined: Mapping[str, Sequence[int]], pixels: int, protocol: Protocol) -> dict[int, dict[str, float]]:
    """Returns the values of frames without a score: frame -> metric -> value; empty if they are omitted.

    Args:
        undefined: metric -> frames of a video that have no such score because of their map.
        pixels: of the video's ground truth.
        protocol: defines how they are treated.
    """
    found: dict[int, dict[str, float]] = {}
    for metric, frames in undefined.items() if protocol.nan == "worst" else ():
        for frame in frames:
            found.setdefault(frame, {})[metric] = worst_score(metric, pixels)
    return found


def count(seen: Mapping[str, Mapping[str, Any]], protocol: Protocol) -> dict[str, Any]:
    """Returns the rule and the frames without a score because of their map: counts by metric, frames by video.

    Args:
        seen: video -> result of `scoring_jobs.score_video`.
        protocol: defines how they are treated.

    Raises:
        InputError: there are some, and the protocol refuses them.
    """
    metrics = {m: sum(len(result["undefined"][m]) for result in seen.values()) for m in protocol.metrics}
    frames = {video: sorted(set().union(*result["undefined"].values())) for video, result in seen.items()}
    frames = {video: found for video, found in frames.items() if found}
    if frames and protocol.nan == "error":
        video, found = next(iter(frames.items()))
        raise InputError(
            f"{sum(map(len, frames.values()))} predictions have no score in some metric ({in_words(metrics)}), first "
            f"video {video!r}, frame {found[0]}: write maps that are not constant and not negative, or give "
            "--undefined=omit or --undefined=worst"
        )
    return {
        "rule": protocol.nan,
        "metrics": metrics,
        "frames": {video: map_checks.ranges(found, most=len(found)) for video, found in frames.items()},
    }


def in_words(metrics: Mapping[str, int]) -> str:
    """Lists the metrics that lack scores, with the number of frames."""
    return ", ".join(f"{metric} {number}" for metric, number in metrics.items() if number)
