"""Two evaluations of the same frames: is one better, or is the gap within the noise?

Differences are taken frame by frame, averaged as the protocol averages, and resampled over videos in pairs: what
makes a video hard for both does not blur the comparison.
"""

from typing import Any

import numpy as np

from avsd_jax.evaluators.avc import GROUPS, members
from avsd_jax.evaluators.summary import LEVEL, RESAMPLES, SEED, Frames, Table

DESCENDING = ("KL", "EMD")
"""Metrics of which a lower value is better."""


def paired_differences(a: Frames, b: Frames, average: str, by_split: bool) -> dict[str, Any]:
    """Differences a - b of two evaluations whose rows are the same frames in the same order.

    Args:
        a, b: scores of the two; a frame without a score in either counts in neither.
        average: "video" or "frame", as for `Table.mean`.
        by_split: as for `Table.mean`.

    Returns:
        `method`, `level`, `resamples`, `seed`; and `groups[group][metric]` with `a`, `b` and `difference` (means over
        the common frames), `interval` of the difference ([low, high], None with fewer than two videos), `frames`
        compared, `videos`: how many favour `a`, how many `b`, how many neither; and `better`: "a" or "b" where the
        interval excludes zero, else None.

    Raises:
        ValueError: the rows are not the same frames.
    """
    for name in ("part", "video", "frame", "label"):
        if not np.array_equal(getattr(a, name), getattr(b, name)):
            raise ValueError(f"the two evaluations differ in {name}")
    groups: dict[str, dict[str, Any]] = {}
    for group in GROUPS:
        rows = members(a.label, group)
        groups[group] = {m: _compare(a, b, m, rows, average, by_split) for m in a.scores if m in b.scores}
    header = {"method": "percentile bootstrap over videos", "level": LEVEL, "resamples": RESAMPLES, "seed": SEED}
    return header | {"groups": groups}


def _compare(a: Frames, b: Frames, metric: str, rows: np.ndarray, average: str, by_split: bool) -> dict[str, Any]:
    difference = a.scores[metric] - b.scores[metric]
    rows = rows & ~np.isnan(difference)
    own, other, gap = (Table.of(a, x, rows) for x in (a.scores[metric], b.scores[metric], difference))
    interval = gap.interval(average, by_split)
    sign = -1 if metric in DESCENDING else 1
    by_video = sign * gap.video_means()
    better = None
    if interval is not None and interval[0] * interval[1] > 0:
        better = "a" if sign * interval[0] > 0 else "b"
    means = {name: float(t.mean(average, by_split)[0]) for name, t in (("a", own), ("b", other), ("difference", gap))}
    return {
        **{name: None if np.isnan(value) else value for name, value in means.items()},
        "interval": interval,
        "frames": int(rows.sum()),
        "videos": {"a": int((by_video > 0).sum()), "b": int((by_video < 0).sum()), "even": int((by_video == 0).sum())},
        "better": better,
    }
