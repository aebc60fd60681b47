"""Rhythms: irregular, syllable-like pulses that modulate both a shape and its voice."""

import dataclasses

import numpy as np
from jaxtyping import Float

SHAPE_RATE = (1.2, 3.0)  # pulses per second of a shape's own rhythm
IMITATION_RATE = (4.0, 6.0)  # of an imitator's: too fast to belong to any shape
_PEAK = 0.37  # time of a pulse's peak, as a fraction of its length


@dataclasses.dataclass(frozen=True)
class Pulsation:
    """A train of pulses: pulse i lasts from `onsets[i]` to `onsets[i + 1]` and peaks at `levels[i]`."""

    onsets: Float[np.ndarray, " p"]
    levels: Float[np.ndarray, " p"]

    def at(self, seconds: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Returns the strength of the pulsation in [0, 1] at each time."""
        pulse = np.clip(np.searchsorted(self.onsets, seconds, side="right") - 1, 0, len(self.onsets) - 2)
        start, stop = self.onsets[pulse], self.onsets[pulse + 1]
        phase = np.clip((seconds - start) / (stop - start), 0, 1)
        return self.levels[pulse] * np.sin(np.pi * phase ** (np.log(0.5) / np.log(_PEAK))) ** 2


def draw_pulsation(rate: tuple[float, float], seconds: float, rng: np.random.Generator) -> Pulsation:
    """Draws a rhythm for a video of `seconds`, with a mean rate drawn from the range `rate` (in Hz)."""
    period = 1 / rng.uniform(*rate)
    # It starts before the video and ends after it, for any intervals.
    count = int(np.ceil((seconds + 2 * period) / (0.7 * period))) + 1
    intervals = period * rng.uniform(0.7, 1.3, count)
    onsets = np.cumsum(intervals) - intervals[0] - rng.uniform(0, period)
    return Pulsation(onsets=onsets, levels=rng.uniform(0.6, 1.0, count))
