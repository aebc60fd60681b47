"""The gate of a model on its classifier's own time grid: one score per point, held until the next one."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float32

from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.prediction.batches import check_finite, probability_of
from avsd_jax.prediction.clip_stream import Clip
from avsd_jax.prediction.decision import Decision
from avsd_jax.runs.classifier import Classifier
from avsd_jax.runs.components import make_forward

Forward = Callable[[Any, Mapping[str, Any]], dict[str, jax.Array]]

_POINT = "point"
PROBABILITY = "avc_probability"


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
            spec: of the clips; a model of sequences gates each of a clip's frames.

        Returns:
            A function like `forward` whose output has `avc_probability` [B], too, of sequences [B, T], and the clips
            for it.
        """
        video = _Video(self._classify, self._temperature, decision, self._source)

        def gated(variables: Any, batch: Mapping[str, Any], **options: Any) -> dict[str, Any]:
            inputs = dict(batch)
            points = inputs.pop(_POINT)
            scores = video.scores(points.ravel().tolist())
            given = np.stack([score.logits if soft else np.eye(2, dtype=np.float32)[score.label] for score in scores])
            probability = np.array([score.probability for score in scores]).reshape(points.shape)
            logits = {"avc_logits": given.reshape(*points.shape, 2)}
            return forward(variables, inputs | logits, **options) | {PROBABILITY: probability}

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
        for point, clip in self._judged(clips):
            if "video" in clip.inputs:
                yield clip._replace(inputs=clip.inputs | {_POINT: np.int32(point)})

    def sequences(self, clips: Iterable[Clip], spec: ClipSpec) -> Iterator[Clip]:
        """Does what `clips` does with a point for each frame of a clip, which therefore waits for the last of them."""
        waiting: deque[Clip] = deque()
        points = [0]

        def frames(clip: Clip) -> np.ndarray:
            return clip.index + spec.frame_step * np.arange(spec.num_maps)

        def pointed(clip: Clip) -> Clip:
            nonlocal points
            points = points[np.searchsorted(points, clip.index, "right") - 1 :]
            of_frames = np.array(points, np.int32)[np.searchsorted(points, frames(clip), "right") - 1]
            return clip._replace(inputs=clip.inputs | {_POINT: of_frames})

        for point, clip in self._judged(clips):
            while waiting and frames(waiting[0])[-1] < clip.index:
                yield pointed(waiting.popleft())
            if point > points[-1]:
                points.append(point)
            if "video" in clip.inputs:
                waiting.append(clip)
        yield from map(pointed, waiting)

    def _judged(self, clips: Iterable[Clip]) -> Iterator[tuple[int, Clip]]:
        """Starts the classification of every scored frame; yields the last of them so far, and clips for the model."""
        point = 0
        for clip in clips:
            judged = {key: clip.inputs[key] for key in ("avc_frames", "avc_audio") if key in clip.inputs}
            if judged:
                point = clip.index
                self._started.append((point, self._classify(judged)))
            yield point, clip._replace(inputs={key: x for key, x in clip.inputs.items() if key not in judged})

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
