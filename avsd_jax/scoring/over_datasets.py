"""Mean over datasets: each dataset counts once, whatever its number of videos.

The survey reports each of its datasets alone; a mean over them is how it sums up its Table V. The interval is a
bootstrap over the videos of each dataset, drawn independently of the other datasets' videos: it says how the mean over
*these* datasets varies with their videos, and nothing about other datasets.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from avsd_jax.scoring.groups import GROUPS, members
from avsd_jax.scoring.protocols import Protocol
from avsd_jax.scoring.summary import ENTRIES, SEED, Frames, Table, how_intervals, percentiles


def over_datasets(datasets: Sequence[Frames], by_split: Sequence[bool], protocol: Protocol) -> dict[str, Any]:
    """Averages the means of datasets by group, as plain values; None if a number does not exist.

    Args:
        datasets: the scored frames of each.
        by_split: for each, whether the means of its splits are averaged, rather than their videos pooled.
        protocol: defines the reported averages.

    Returns:
        `datasets[group][metric]`: how many have the score; the others are left out of its mean;
        `scores[group][metric]` and `frame_scores[group][metric]`: the mean over datasets of the mean over videos and of
        the mean over frames, each if the protocol reports it;
        `intervals`: how they were computed, and for both of these [low, high]; None if a dataset has fewer than two
        videos with the score.
    """
    tables = {
        group: {
            metric: [Table.of(one, one.scores[metric], members(one.label, group)) for one in datasets]
            for metric in protocol.metrics
        }
        for group in GROUPS
    }
    counts = {g: {m: sum(bool(t.videos().any()) for t in own) for m, own in by.items()} for g, by in tables.items()}
    result: dict[str, Any] = {"datasets": counts}
    intervals = how_intervals("percentile bootstrap over the videos of each dataset")
    for average in protocol.averages:
        key = ENTRIES[average]
        both = {g: {m: _mean(own, by_split, average) for m, own in by.items()} for g, by in tables.items()}
        result[key] = {g: {m: mean for m, (mean, _) in by.items()} for g, by in both.items()}
        intervals[key] = {g: {m: interval for m, (_, interval) in by.items()} for g, by in both.items()}
    return result | {"intervals": intervals}


def _mean(tables: Sequence[Table], by_split: Sequence[bool], average: str) -> tuple[float | None, list[float] | None]:
    """Returns the mean over the datasets that have the score, and its interval."""
    present = [(i, table, split) for i, (table, split) in enumerate(zip(tables, by_split, strict=True))]
    present = [(i, table, split) for i, table, split in present if table.videos().any()]
    if not present:
        return None, None
    mean = float(np.mean([table.mean(average, split)[0] for _, table, split in present]))
    draws = [table.draws(average, split, [SEED, i]) for i, table, split in present]
    return mean, None if any(draw is None for draw in draws) else percentiles(np.mean(draws, axis=0))
