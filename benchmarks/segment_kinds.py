"""The accuracy of a classifier by the kind of audio segment of sounding shapes: what limits it."""

from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from avsd_jax.data import catalog
from avsd_jax.scoring.summary import Frames
from datasets_tfds.sounding_shapes.generator import script
from datasets_tfds.sounding_shapes.scene import CONSISTENT, INCONSISTENT, frame_times

# Seconds from the nearest change of the segment: a classifier hears half a second to each side, or a whole one.
_NEAR = 0.5


def accuracy_by_segment(config: ConfigDict, ids: Sequence[str], frames: Frames) -> dict[str, float]:
    """Returns the share of right decisions by what is heard, and near and far from a change of it.

    Args:
        config: names the dataset, which the generator repeats.
        ids: of the videos, by the numbers in `frames.video`.
        frames: with the score `accuracy`, NaN where there is no label.

    Returns:
        Kind of frames -> accuracy; empty for another dataset than sounding shapes.
    """
    if config.dataset.partition("/")[0] != "sounding_shapes":
        return {}
    generator = catalog.load_builder(config.dataset, config.data_dir).builder_config.generator
    times = frame_times(generator)
    kind, distance = np.empty(len(frames.frame), object), np.empty(len(frames.frame))
    for video in np.unique(frames.video):
        split, _, index = ids[video].rpartition("_")
        segments = script(generator, split, int(index)).segments
        starts = np.array([segment.start for segment in segments])
        own = frames.video == video
        time = times[frames.frame[own]]
        kind[own] = np.array([segment.kind for segment in segments], object)[np.searchsorted(starts, time, "right") - 1]
        changes = starts[1:] if len(starts) > 1 else np.array([np.inf])
        distance[own] = np.abs(time[:, None] - changes).min(axis=1)
    right = frames.scores["accuracy"]
    groups = {name: kind == name for name in (CONSISTENT, *INCONSISTENT)}
    groups |= {f"within {_NEAR} s": distance < _NEAR, "farther": distance >= _NEAR}
    return {name: float(np.nanmean(right[rows])) for name, rows in groups.items() if (rows & ~np.isnan(right)).any()}
