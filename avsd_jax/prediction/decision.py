"""The decision on consistency from scores over time, by a threshold or by two; shared by `avc` and `predict`."""

import argparse
import dataclasses
from typing import Any

from avsd_jax.common import cli
from avsd_jax.errors import InputError

# The hard decision of the survey: argmax of two logits.
THRESHOLD = 0.5

_probability = cli.number(0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Decision:
    """From scores over time to labels: 1 above `high`, 0 up to `low`, as before in between.

    The first score, if it is in between, is compared with the middle. Without a gap this is a threshold.

    Attributes:
        low, high: probabilities.

    Raises:
        InputError: they are not in order in [0, 1].
    """

    low: float = THRESHOLD
    high: float = THRESHOLD

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise InputError(f"hysteresis {self.low:g},{self.high:g}: give two probabilities, the lower one first")

    def label(self, probability: float, before: int | None) -> int:
        """Returns the label of a score, given the label before it."""
        if before is None:
            return int(probability > (self.low + self.high) / 2)
        return before if self.low < probability <= self.high else int(probability > self.high)

    @property
    def record(self) -> dict[str, Any]:
        """Returns the decision as the record states it."""
        return {"threshold": self.low} if self.low == self.high else {"hysteresis": [self.low, self.high]}

    def __str__(self) -> str:
        """Returns the decision in words."""
        if self.low == self.high:
            return f"above {self.low:g}"
        return f"from above {self.high:g} until at most {self.low:g}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--threshold` and `--hysteresis`, which exclude each other, to a command; see `chosen`."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--threshold", type=_probability, help=f"consistent is above it (default: {THRESHOLD})")
    how.add_argument("--hysteresis", type=_two_thresholds, metavar="LOW,HIGH", help="two thresholds instead of one")


def chosen(args: argparse.Namespace) -> Decision | None:
    """Returns the decision that a command line asks for; None if it does not."""
    return args.hysteresis if args.threshold is None else Decision(args.threshold, args.threshold)


def _two_thresholds(text: str) -> Decision:
    """Parses two probabilities, the lower one first."""
    parts = text.split(",")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not LOW,HIGH, as in 0.4,0.6")
    low, high = map(_probability, parts)
    if low > high:
        raise argparse.ArgumentTypeError(f"{text!r} begins with the higher one: write {parts[1]},{parts[0]}")
    return Decision(low, high)
