"""Frames that have no score because of their map: counted, and left out, counted as worst or refused.

A constant map has no CC, one with negative values no KL. The published code leaves such frames out of each metric's
mean, so that a broken model looks no worse; here they are counted beside the scores, and the rule is a choice.
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
    "worst": "counted as the worst value that there is",
    "error": "refused",
}
"""What becomes of such frames, by the protocol's `nan`."""
RULES = {"omit": "dropped", "worst": "worst", "error": "error"}
"""Choices of `--undefined` -> `Protocol.nan`."""


def with_rule(protocol: Protocol, choice: str | None) -> Protocol:
    """Returns a protocol with another rule for frames that have no score because of their map; None: its own.

    Raises:
        InputError: the choice is none of `RULES`.
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
    """Returns the worst that a metric can be, by its definition.

    Args:
        metric: its name.
        pixels: of the ground truth; NSS is lowest where the one fixated pixel is the only one below all others.

    Raises:
        InputError: nothing bounds the metric.
    """
    bounds = {
        "CC": -1.0,
        "SIM": 0.0,
        "AUC-J": 0.0,
        "s-AUC": 0.0,
        "NSS": -(pixels - 1) / pixels**0.5,
        "KL": -math.log(2.0**-52),  # the density lies where the prediction is zero; epsilon as in MIT's KLdiv
    }
    if metric not in bounds:
        raise InputError(f"{metric} has no worst value: score it with --undefined=omit or --undefined=error")
    return bounds[metric]


def penalties(undefined: Mapping[str, Sequence[int]], pixels: int, protocol: Protocol) -> dict[int, dict[str, float]]:
    """Returns what frames without a score count as: frame -> metric -> value; empty where they are left out.

    Args:
        undefined: metric -> frames of a video that have no such score because of their map.
        pixels: of the video's ground truth.
        protocol: says what becomes of them.
    """
    found: dict[int, dict[str, float]] = {}
    for metric, frames in undefined.items() if protocol.nan == "worst" else ():
        for frame in frames:
            found.setdefault(frame, {})[metric] = worst_score(metric, pixels)
    return found


def count(seen: Mapping[str, Mapping[str, Any]], protocol: Protocol) -> dict[str, Any]:
    """Returns the rule and the frames that have no score because of their map: how many by metric, which by video.

    Args:
        seen: video -> result of `scoring_jobs.score_video`.
        protocol: says what becomes of them.

    Raises:
        InputError: there are some, and the protocol takes none.
    """
    metrics = {m: sum(len(result["undefined"][m]) for result in seen.values()) for m in protocol.metrics}
    frames = {video: sorted(set().union(*result["undefined"].values())) for video, result in seen.items()}
    frames = {video: found for video, found in frames.items() if found}
    if frames and protocol.nan == "error":
        video, found = next(iter(frames.items()))
        raise InputError(
            f"{sum(map(len, frames.values()))} predictions have no score in some metric ({in_words(metrics)}), first "
            f"video {video!r}, frame {found[0]}: write maps that are not constant and not negative, or say "
            "--undefined=omit or --undefined=worst"
        )
    return {
        "rule": protocol.nan,
        "metrics": metrics,
        "frames": {video: map_checks.ranges(found, most=len(found)) for video, found in frames.items()},
    }


def in_words(metrics: Mapping[str, int]) -> str:
    """The metrics that lack scores, with the number of frames."""
    return ", ".join(f"{metric} {number}" for metric, number in metrics.items() if number)
