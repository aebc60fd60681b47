"""The gate of a model on its classifier's own time grid: one score per point, held until the next one."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, Int, Int32

from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.prediction.batches import check_finite, probability_of
from avsd_jax.prediction.clip_stream import Clip
from avsd_jax.prediction.decision import Decision
from avsd_jax.runs.classifier import Classifier
from avsd_jax.runs.components import make_forward

Forward = Callable[[Any, Mapping[str, Any]], dict[str, jax.Array]]

_POINT = "point"
PROBABILITY = "avc_probability"
# What the classifier reads.
_JUDGED = ("avc_frames", "avc_audio")


class _Score(NamedTuple):
    probability: float
    label: int
    logits: Float32[np.ndarray, " 2"]


class GridGate:
    """Classifies the scored frames of a stream of clips, and gives the model their logits instead of their inputs.

    Every scored frame is classified as it comes, in a batch of its own, while the devices compute other batches: the
    points of a batch of clips are few, and waiting for more would keep all clips up to them in memory.

    Args:
        classifier: of the gated model.
        source: its folder, for messages.
    """

    def __init__(self, classifier: Classifier, source: str | Path):
        self._source = source
        self._temperature = classifier.temperature
        self._variables = jax.device_put(classifier.variables)
        self._forward = make_forward(classifier.model, maps=False)

    def run(
        self, forward: Forward, clips: Iterable[Clip], decision: Decision, soft: bool, spec: ClipSpec
    ) -> tuple[Forward, Iterator[Clip]]:
        """Returns a model's function and its clips, for `in_batches` or `in_order`, with the gate between them.

        Args:
            forward: of the model; may take named options.
            clips: of a `ClipStream` whose classifier has a grid of its own.
            decision: from scores to an open or closed gate.
            soft: whether the model weighs the streams by the logits; otherwise it only gets the decision.
            spec: of the clips; each of the frames that a clip maps has a gate, of a model of sequences.

        Returns:
            A function like `forward` whose output has `avc_probability` [B] or [B, T], too, and the clips for it.
        """
        video = _Video(self._classify, self._temperature, decision, self._source)

        def gated(variables: Any, batch: Mapping[str, Any], **options: Any) -> dict[str, Any]:
            inputs = dict(batch)
            points = inputs.pop(_POINT)
            scores = video.scores(points.ravel().tolist())
            given = np.stack([score.logits if soft else np.eye(2, dtype=np.float32)[score.label] for score in scores])
            probability = np.array([score.probability for score in scores]).reshape(points.shape)
            output = forward(variables, inputs | {"avc_logits": given.reshape(*points.shape, 2)}, **options)
            return output | {PROBABILITY: probability}

        return gated, video.sequences(clips, spec) if spec.num_maps else video.clips(clips)

    def _classify(self, inputs: Mapping[str, np.ndarray]) -> jax.Array:
        return self._forward(self._variables, {key: value[None] for key, value in inputs.items()})["avc_logits"]


class _Video:
    """The scores of one video, in order; those before the clips in work are dropped."""

    def __init__(self, classify: Callable[..., jax.Array], temperature: float, decision: Decision, source: str | Path):
        self._classify = classify
        self._temperature = temperature
        self._decision = decision
        self._source = source
        self._started: deque[tuple[int, jax.Array]] = deque()
        self._scores: dict[int, _Score] = {}
        self._label: int | None = None

    def clips(self, clips: Iterable[Clip]) -> Iterator[Clip]:
        """Starts the classification of every scored frame; yields the model's clips with the number of their point."""
        point = 0
        for clip in clips:
            point = self._start(clip, point)
            if "video" in clip.inputs:
                yield _with_points(clip, np.int32(point))

    def sequences(self, clips: Iterable[Clip], spec: ClipSpec) -> Iterator[Clip]:
        """Does the same for clips whose frames have a point each: a clip waits for the points of its last frames."""
        waiting: deque[Clip] = deque()
        points = [0]

        def ready() -> Clip:
            nonlocal points
            clip = waiting.popleft()
            # The next clip begins later: what was held before its begin is not asked for again.
            points = points[np.searchsorted(points, clip.index, "right") - 1 :]
            return _with_points(clip, _held(points, _frames(clip, spec)))

        for clip in clips:
            while waiting and _frames(waiting[0], spec)[-1] < clip.index:
                yield ready()
            point = self._start(clip, points[-1])
            if point > points[-1]:
                points.append(point)
            if "video" in clip.inputs:
                waiting.append(clip)
        while waiting:
            yield ready()

    def _start(self, clip: Clip, point: int) -> int:
        """Starts the classification of a scored frame; returns the number of the point that holds from this clip on."""
        judged = {key: clip.inputs[key] for key in _JUDGED if key in clip.inputs}
        if not judged:
            return point
        self._started.append((clip.index, self._classify(judged)))
        return clip.index

    def scores(self, points: list[int]) -> list[_Score]:
        """Returns the scores of the points of a batch; waits for their classification."""
        while self._started and self._started[0][0] <= points[-1]:
            index, logits = self._started.popleft()
            self._scores[index] = self._score(index, np.asarray(logits)[0])
        for old in [index for index in self._scores if index < points[0]]:
            del self._scores[old]
        return [self._scores[point] for point in points]

    def _score(self, index: int, logits: Float32[np.ndarray, " 2"]) -> _Score:
        check_finite(logits, self._source, index)
        probability = probability_of(logits / self._temperature)
        self._label = self._decision.label(probability, self._label)
        return _Score(probability, self._label, logits)


def _with_points(clip: Clip, points: np.int32 | Int32[np.ndarray, " t"]) -> Clip:
    """Returns the model's inputs of a clip with the numbers of its points."""
    seen = {key: value for key, value in clip.inputs.items() if key not in _JUDGED}
    return clip._replace(inputs=seen | {_POINT: points})


def _frames(clip: Clip, spec: ClipSpec) -> Int[np.ndarray, " t"]:
    """Returns the frames that a clip of a sequence maps, those after the end of the video, too."""
    return clip.index + spec.frame_step * np.arange(spec.num_maps)


def _held(points: list[int], frames: Int[np.ndarray, " t"]) -> Int32[np.ndarray, " t"]:
    """Returns the point that holds at each frame, of points in order."""
    known = np.asarray(points, np.int32)
    return known[np.searchsorted(known, frames, side="right") - 1]
