"""Scores of a consistency classifier on the videos of a store, on its own time grid."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from avsd_jax.batch import model_inputs
from avsd_jax.common.parallel import gather
from avsd_jax.data import pipeline
from avsd_jax.data.consistency_grid import scored_frame
from avsd_jax.data.store import VideoStore
from avsd_jax.runs.classifier import Classifier
from avsd_jax.runs.components import make_forward

# Classifiers of equal runs share their compiled program.
_forward = functools.lru_cache(maxsize=4)(functools.partial(make_forward, maps=False))

Batch = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """The logits of the frames that are scored, held for all others.

    Attributes:
        store: the videos.
        every: seconds between two scores, see `avsd_jax.data.consistency_grid`.
        logits: (video, frame) of a scored frame -> logits [2], not divided by the temperature.
    """

    store: VideoStore
    every: float
    logits: Mapping[tuple[int, int], Float[np.ndarray, " 2"]]

    @classmethod
    def of(
        cls,
        classifier: Classifier,
        store: VideoStore,
        every: float,
        frames: Iterable[tuple[int, int]],
        *,
        batch_size: int,
        audio_condition: str = "real",
    ) -> "Grid":
        """Classifies what the given frames (video, frame) need: each frame of the grid once.

        Every process of a job must call it; each classifies its share and gets the logits of all.
        """
        points = list(dict.fromkeys((video, scored_frame(f, store.videos[video].fps, every)) for video, f in frames))
        processes = jax.process_count()
        batches = pipeline.classifier_batches(
            store,
            classifier.model.classifier_inputs,
            points,
            batch_size=processes * -(-batch_size // processes),
            audio_condition=audio_condition,
            process_index=jax.process_index(),
            process_count=processes,
        )
        forward, variables = _forward(classifier.model), jax.device_put(classifier.variables)
        found: dict[tuple[int, int], np.ndarray] = {}
        for batch in batches:
            logits = np.asarray(forward(variables, model_inputs(batch))["avc_logits"])
            for i in np.flatnonzero(batch["mask"]):
                found[int(batch["video_index"][i]), int(batch["frame_index"][i])] = logits[i]
        return cls(store, every, {where: row for part in gather(found) for where, row in part.items()})

    def at(self, videos: Iterable[int | np.integer], frames: Iterable[int | np.integer]) -> Float[np.ndarray, "b 2"]:
        """Returns the logits that frames have."""
        return np.stack([self.logits[self._point(int(v), int(f))] for v, f in zip(videos, frames, strict=True)])

    def _point(self, video: int, frame: int) -> tuple[int, int]:
        index = self.store.videos[video]
        # Behind the last frame, which fills up the last clip of a sequence, its score holds.
        return video, scored_frame(min(frame, index.num_frames - 1), index.fps, self.every)

    def joined(self, batches: Iterable[Batch]) -> Iterator[dict[str, Any]]:
        """Yields batches with their frames' `avc_logits` [B, 2]."""
        for batch in batches:
            yield {**batch, "avc_logits": self.at(batch["video_index"], batch["frame_index"])}
