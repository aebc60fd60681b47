"""The options of a prediction, checked against the model, and the words about it in notes, labels and plots."""

import dataclasses
import math

from avsd_jax.errors import InputError
from avsd_jax.media.reading import VideoInfo
from avsd_jax.prediction.decision import Decision
from avsd_jax.prediction.every_frame import Prediction
from avsd_jax.prediction.result_files import Label

MODES = ("exact", "fast")
# Distance between the predicted frames in the mode fast.
FAST_STRIDE = 4
# What opens a gate that is closed without audio.
GATED = ("classifier", "labels")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a video is predicted; see `avsd_jax.prediction.predictor.Predictor.run`."""

    mode: str
    stride: int
    every: float
    decision: Decision


@dataclasses.dataclass(frozen=True)
class Traits:
    """What decides about the options of a model, and about the words for its predictions.

    Attributes:
        source: its folder or name, for messages.
        model_name: the module of `avsd_jax/models`.
        gate: what opens its gate.
        soft: whether the gate weighs the streams.
        classifier: name of what judges consistency.
        on_grid: whether a trained classifier scores frames on a time grid of its own.
        every: seconds between two scores by default.
        sequence: whether it maps every frame of a clip.
    """

    source: str
    model_name: str
    gate: str
    soft: bool
    classifier: str
    on_grid: bool
    every: float
    sequence: bool

    def settings(self, mode: str, stride: int | None, every: float | None, decision: Decision | None) -> Settings:
        """Returns the settings, None being replaced by defaults.

        Raises:
            InputError: one is unknown or out of range, or has no effect on this model.
        """
        if mode not in MODES:
            raise InputError(f"unknown mode {mode!r}: choose one of {', '.join(MODES)}")
        if stride is None:
            # Where one clip gives the maps of many frames, to leave out maps saves nothing.
            stride = FAST_STRIDE if mode == "fast" and not self.sequence else 1
        if stride < 1:
            raise InputError(f"stride={stride}: give a whole number from 1 on")
        self._check_gate(every, decision)
        return Settings(mode, stride, self.every if every is None else every, decision or Decision())

    def _check_gate(self, every: float | None, decision: Decision | None) -> None:
        """Raises InputError if options of the gate are wrong, or have no effect on this model."""
        if every is not None and not 0 <= every < math.inf:
            raise InputError(f"every={every}: give a number of seconds from 0 on")
        if not self.on_grid and (every is not None or decision is not None):
            if self.gate == "classifier":
                raise InputError(
                    f"{self.source} decides by itself, anew for every frame and above one half: leave out the time "
                    "grid and the threshold"
                )
            raise InputError(
                f"{self.source} has no gate by a trained classifier: leave out its time grid (--every) and its "
                "threshold (--threshold, --hysteresis)"
            )
        if self.soft and decision is not None:
            raise InputError(
                f"{self.source} has a soft gate, which weighs the streams by the probability: leave out the threshold"
            )

    def remarks(self, info: VideoInfo, how: Settings, in_series: bool) -> tuple[str, ...]:
        """Returns notes on properties of input and options that affect the result unexpectedly.

        Args:
            info: the video.
            how: it is predicted.
            in_series: whether what clips share is computed once.
        """
        notes = []
        if info.audio is None and self.gate in GATED:
            notes.append("no audio track: the gate is closed and the visual stream alone predicts")
        elif info.audio is None and self.gate == "always":
            notes.append("no audio track: the model, which has no gate, gets silence")
        elif self.gate == "labels":
            notes.append("the gate follows labels, which a video file does not have: the visual stream alone predicts")
        if how.stride > 1:
            notes.append(f"one frame in {how.stride} is predicted; the maps between are interpolated")
        if how.mode == "fast" and in_series:
            notes.append("mode fast: what clips share is computed once, as if each went on before its first frame")
        elif how.mode == "fast" and how.stride == 1:
            notes.append(f"mode fast: {self.model_name} has nothing to leave out, its maps are exact")
        return tuple(notes)

    def label(self, info: VideoInfo, prediction: Prediction) -> Label:
        """Returns the label in the corner of a frame."""
        used = "audio used" if prediction.opened else "audio ignored"
        if prediction.probability is not None:
            return Label(f"AVC {prediction.probability:.2f}  {used}", prediction.opened, prediction.probability)
        if info.audio is None and self.gate != "never":
            return Label("no audio track", False, None)
        return Label("visual only" if self.gate == "never" else used, prediction.opened, None)

    def caption(self, info: VideoInfo, decision: Decision) -> str:
        """Returns the line below the title of the curve."""
        if info.audio is None:
            return "The file has no audio track: nothing to classify."
        if self.gate != "classifier":
            return "This model has no classifier of audio-visual consistency."
        return (
            f"Probability that the audio belongs to what is visible, by {self.classifier}. Green: {decision}, the "
            "audio is used."
        )
