"""Warnings about uninformative targets: densities that are zero everywhere, clips without a label."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from flax import linen as nn

from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.store import VideoStore

# Single clips may have an empty target; after this many it is not by chance.
_CLIPS = 100
_MAP_TERMS = {"kl", "bce"}


def warn_of_labels(model: nn.Module, spec: ClipSpec, store: VideoStore) -> None:
    """Logs a warning if the model reads AVC labels of frames and no frame of the videos has one."""
    if spec.avc_supervision == "weak" or spec.instances:
        return
    by_labels = "labels" in (model.gate, model.train_gate)
    gate = "classifier" if model.classifier_inputs else model.gate
    if gate not in ("labels", "classifier") or any(
        label >= 0 for video in store.videos for _, label in video.label_runs
    ):
        return
    without = "every clip is left to vision alone" if by_labels else "the classifier is not trained"
    logging.warning(
        "%s: no frame has a label of audio-visual consistency (all are -1): with gate=%s %s. Add labels "
        "(python -m avsd_jax.avc_labels) and build the dataset again",
        store.name,
        gate,
        without,
    )


class DensityWatch:
    """Logs one warning if no clip of a run so far had a density above zero."""

    def __init__(self, name: str):
        self._name = name  # of the videos
        self._clips = 0
        self._done = jax.process_index() != 0

    def add(self, batch: Mapping[str, np.ndarray], metrics: Mapping[str, Any], last: bool) -> None:
        """Checks the batch of one step.

        Args:
            batch: with `density` [B, H, W].
            metrics: what the step returned; their names tell whether maps are trained.
            last: whether this is the last step.
        """
        if self._done:
            return
        self._clips += len(batch["density"])
        if not _MAP_TERMS & metrics.keys() or batch["density"].any():
            self._done = True
        elif last or self._clips >= _CLIPS:
            self._done = True
            logging.warning(
                "%s: the density of all %d clips so far is zero everywhere: the map learns nothing. Look at the "
                "dataset's maps, or at target_maps",
                self._name,
                self._clips,
            )
