"""Comparison of two evaluations of the same frames: is the difference significant?

Differences are computed frame by frame, averaged as in the protocol, and resampled over videos in pairs: the difficulty
of a video for both models does not affect the comparison.
"""

from typing import Any

import numpy as np

from avsd_jax.metrics import LOWER_IS_BETTER
from avsd_jax.scoring import significance
from avsd_jax.scoring.groups import GROUPS, members
from avsd_jax.scoring.summary import LEVEL, RESAMPLES, SEED, Frames, Table


def paired_differences(a: Frames, b: Frames, average: str, by_split: bool) -> dict[str, Any]:
    """Computes the differences a - b of two evaluations whose rows are the same frames in the same order.

    Args:
        a, b: scores of the two; a frame without a score in either counts in neither.
        average: "video" or "frame", as for `Table.mean`.
        by_split: as for `Table.mean`.

    Returns:
        `method`, `level`, `resamples`, `seed` of the intervals; `test`: how p-values were computed; and
        `groups[group][metric]` with `a`, `b` and `difference` (means over the common frames), `interval` of the
        difference ([low, high], None with fewer than two videos), `p` of the sign-flip test, `p_holm` corrected for the
        group's metrics, `frames` compared, `videos`: how many favour `a`, how many `b`, how many neither (a video of
        several splits counts once); and `better`: "a" or "b" if `p_holm` is at most 5 %, else None.

    Raises:
        ValueError: the rows are not the same frames.
    """
    for name in ("part", "video", "frame", "label"):
        if not np.array_equal(getattr(a, name), getattr(b, name)):
            raise ValueError(f"the two evaluations differ in {name}")
    groups: dict[str, dict[str, Any]] = {}
    for group in GROUPS:
        rows = members(a.label, group)
        compared = {m: _compare(a, b, m, rows, average, by_split) for m in a.scores if m in b.scores}
        tested = {m: entry["p"] for m, entry in compared.items() if entry["p"] is not None}
        for metric, p in significance.holm(tested).items():
            compared[metric] |= {"p_holm": p, "better": _better(compared[metric], metric, p)}
        groups[group] = compared
    test = {
        "method": "sign flips over videos, two-sided",
        "exact_up_to_videos": significance.EXACT_VIDEOS,
        "draws_beyond": significance.DRAWS,
        "correction": "Holm, over the metrics of a group",
        "level": significance.LEVEL,
    }
    header = {"method": "percentile bootstrap over videos", "level": LEVEL, "resamples": RESAMPLES, "seed": SEED}
    return header | {"test": test, "groups": groups}


def _better(entry: dict[str, Any], metric: str, p: float) -> str | None:
    """Returns the better of the two; None if the difference is not significant."""
    if p > significance.LEVEL:
        return None
    return "a" if (entry["difference"] > 0) != (metric in LOWER_IS_BETTER) else "b"


def _compare(a: Frames, b: Frames, metric: str, rows: np.ndarray, average: str, by_split: bool) -> dict[str, Any]:
    difference = a.scores[metric] - b.scores[metric]
    rows = rows & ~np.isnan(difference)
    own, other, gap = (Table.of(a, x, rows) for x in (a.scores[metric], b.scores[metric], difference))
    parts = gap.parts(average, by_split)[gap.videos()]
    by_video = -parts if metric in LOWER_IS_BETTER else parts
    means = {name: float(t.mean(average, by_split)[0]) for name, t in (("a", own), ("b", other), ("difference", gap))}
    return {
        **{name: None if np.isnan(value) else value for name, value in means.items()},
        "interval": gap.interval(average, by_split),
        "p": significance.sign_flip_p(parts) if len(parts) else None,
        "p_holm": None,
        "frames": int(rows.sum()),
        "videos": {"a": int((by_video > 0).sum()), "b": int((by_video < 0).sum()), "even": int((by_video == 0).sum())},
        "better": None,
    }
