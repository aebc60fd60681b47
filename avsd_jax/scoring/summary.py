"""Summary of scores per frame: averages by group, omissions, and confidence intervals.

The videos of a test set are few and differ widely, so every mean has a confidence interval: the percentile
bootstrap over videos (frames of a video are not independent). It is deterministic: seed and number of draws are
in the record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from avsd_jax.scoring.groups import GROUPS, classifier_scores, members
from avsd_jax.scoring.protocols import Protocol

RESAMPLES = 2000
SEED = 0
LEVEL = 0.95
ENTRIES = {"video": "scores", "frame": "frame_scores"}
"""Average -> its entry in a record."""


@dataclass(frozen=True, eq=False)
class Frames:
    """One entry per scored frame.

    Attributes:
        part: number of the split that it belongs to; all 0 if there is one.
        video: number of its video; the same video in two splits has the same number.
        frame: number of the frame in the video, from 0.
        label: 1 consistent, 0 inconsistent, -1 unlabelled.
        scores: metric -> values, NaN if a frame has no such score.
        gate: whether the audio-visual stream was used; None without a gate.
        margin: the classifier's logit of "consistent" minus that of "inconsistent"; None without one.
    """

    part: Int[np.ndarray, " n"]
    video: Int[np.ndarray, " n"]
    frame: Int[np.ndarray, " n"]
    label: Int[np.ndarray, " n"]
    scores: dict[str, Float[np.ndarray, " n"]]
    gate: Bool[np.ndarray, " n"] | None = None
    margin: Float[np.ndarray, " n"] | None = None

    def __getitem__(self, rows: Bool[np.ndarray, " n"]) -> "Frames":
        """Returns the frames for which `rows` is true."""
        scores = {metric: values[rows] for metric, values in self.scores.items()}
        columns = {name: getattr(self, name) for name in ("part", "video", "frame", "label", "gate", "margin")}
        return Frames(scores=scores, **{name: None if x is None else x[rows] for name, x in columns.items()})


@dataclass(frozen=True, eq=False)
class Table:
    """Sums of one metric by split and video, from which every average is computed.

    Attributes:
        sums: sum of the existing scores.
        counts: their number.
    """

    sums: Float[np.ndarray, "p v"]
    counts: Int[np.ndarray, "p v"]

    @classmethod
    def of(cls, frames: Frames, values: Float[np.ndarray, " n"], rows: Bool[np.ndarray, " n"]) -> "Table":
        """Builds the table of `values` over the given rows."""
        shape = (int(frames.part.max(initial=0)) + 1, int(frames.video.max(initial=0)) + 1)
        known = rows & ~np.isnan(values)
        where = frames.part[known] * shape[1] + frames.video[known]
        size = shape[0] * shape[1]
        sums = np.bincount(where, weights=values[known], minlength=size).astype(float)
        return cls(sums.reshape(shape), np.bincount(where, minlength=size).reshape(shape))

    def video_means(self) -> Float[np.ndarray, "p v"]:
        """Returns the mean over the frames of each video; NaN if there is none."""
        return np.divide(self.sums, self.counts, out=np.full(self.sums.shape, np.nan), where=self.counts > 0)

    def videos(self) -> Bool[np.ndarray, " v"]:
        """Returns which videos have the score in any split."""
        return (self.counts > 0).any(axis=0)

    def parts(self, average: str, by_split: bool) -> Float[np.ndarray, " v"]:
        """Returns the contribution of each video to `mean`, which is their sum. A video of several splits is one."""
        present = self.counts > 0
        values, sizes = (np.nan_to_num(self.video_means()), present) if average == "video" else (self.sums, self.counts)
        size = sizes.sum(axis=1, keepdims=True).astype(float)
        splits = max(1, (size > 0).sum()) if by_split else 1
        size = size if by_split else size.sum(axis=0, keepdims=True)
        shares = np.divide(values, size, out=np.zeros(values.shape), where=size > 0)
        return shares.sum(axis=0) / splits

    def mean(
        self, average: str, by_split: bool, weights: Float[np.ndarray, "b v"] | None = None
    ) -> Float[np.ndarray, " b"]:
        """Computes the mean over the dataset, for each row of video weights (none: all count once).

        Args:
            average: "video", each video counts once; "frame", each frame does.
            by_split: average the means of the splits; otherwise the splits are pooled.
            weights: how often each video counts.
        """
        if weights is None:
            weights = np.ones((1, self.sums.shape[1]))
        present = self.counts > 0
        values, sizes = (np.nan_to_num(self.video_means()), present) if average == "video" else (self.sums, self.counts)
        total, size = weights @ values.T, weights @ sizes.T.astype(float)
        if not by_split:
            total, size = total.sum(axis=1, keepdims=True), size.sum(axis=1, keepdims=True)
        means = np.divide(total, size, out=np.zeros(size.shape), where=size > 0)
        splits = (size > 0).sum(axis=1)
        return np.divide(means.sum(axis=1), splits, out=np.full(len(splits), np.nan), where=splits > 0)

    def interval(self, average: str, by_split: bool, seed: int = SEED) -> list[float] | None:
        """Computes the 95 % interval of `mean`: percentiles over draws of as many videos, with replacement.

        It is None if fewer than two videos have the score. Every table has its own random generator, so that no
        interval depends on which others are computed.
        """
        draws = self.draws(average, by_split, seed)
        return None if draws is None else percentiles(draws)

    def draws(self, average: str, by_split: bool, seed: int | Sequence[int] = SEED) -> Float[np.ndarray, " b"] | None:
        """Computes `mean` over draws of as many videos, with replacement; None if fewer than two have the score."""
        present = np.flatnonzero(self.videos())
        if len(present) < 2:
            return None
        draws = np.random.default_rng(seed).multinomial(
            len(present), np.full(len(present), 1 / len(present)), RESAMPLES
        )
        weights = np.zeros((RESAMPLES, self.sums.shape[1]))
        weights[:, present] = draws
        return self.mean(average, by_split, weights)


def percentiles(draws: Float[np.ndarray, " b"]) -> list[float]:
    """Returns the 95 % interval of draws."""
    tail = 50 * (1 - LEVEL)
    return [float(x) for x in np.nanpercentile(draws, [tail, 100 - tail])]


def summarise(
    frames: Frames,
    videos: Sequence[str],
    protocol: Protocol,
    *,
    splits: Sequence[str] = ("",),
    by_split: bool = False,
) -> dict[str, Any]:
    """Averages per-frame scores by group, as plain values; None if a number does not exist.

    Args:
        frames: the scored frames.
        videos: ids by the numbers in `frames.video`.
        protocol: defines the reported averages.
        splits: names by the numbers in `frames.part`; with several, a video's key is `split/id`.
        by_split: whether the means of the splits are averaged, rather than their videos pooled.

    Returns:
        `counts`: videos (each once, in however many splits it is) and frames by group, and unlabelled frames (they are
        in the group `all` only);
        `scores[group][metric]`: mean over videos of the mean over a video's frames;
        `frame_scores[group][metric]`: mean over all frames; each of the two if the protocol reports it;
        `intervals`: how they were computed, and for `scores` and `frame_scores` [low, high];
        `nan[group][metric]`: frames without that score;
        `avc`: see `avc.classifier_scores`; `videos`: id -> group -> metric.
    """
    groups = {group: members(frames.label, group) for group in GROUPS}
    tables = {g: {m: Table.of(frames, frames.scores[m], rows) for m in protocol.metrics} for g, rows in groups.items()}
    result: dict[str, Any] = {"counts": _counts(frames, groups)}
    intervals = how_intervals("percentile bootstrap over videos")
    for average in protocol.averages:
        key = ENTRIES[average]
        result[key] = _each(tables, lambda t, a=average: _plain(t.mean(a, by_split)[0]))
        intervals[key] = _each(tables, lambda t, a=average: t.interval(a, by_split))
    return result | {
        "intervals": intervals,
        "nan": {g: {m: int(np.isnan(frames.scores[m][rows]).sum()) for m in tables[g]} for g, rows in groups.items()},
        "avc": classifier_scores(frames.label, frames.margin, frames.gate),
        "videos": _videos(frames, videos, splits, groups, tables),
    }


def how_intervals(method: str) -> dict[str, Any]:
    """Returns the record of how intervals are computed."""
    return {"method": method, "level": LEVEL, "resamples": RESAMPLES, "seed": SEED}


def _counts(frames: Frames, groups: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {
        "videos": {group: len(np.unique(frames.video[rows])) for group, rows in groups.items()},
        "frames": {group: int(rows.sum()) for group, rows in groups.items()},
        "unlabelled": int((frames.label < 0).sum()),
    }


def _videos(
    frames: Frames,
    videos: Sequence[str],
    splits: Sequence[str],
    groups: Mapping[str, np.ndarray],
    tables: Mapping[str, Mapping[str, Table]],
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Computes means over the frames of each video, for the groups of which it has frames."""
    result = {}
    means = _each(tables, Table.video_means)
    for part, video in np.unique(np.stack([frames.part, frames.video], axis=1), axis=0):
        own = (frames.part == part) & (frames.video == video)
        key = f"{splits[part]}/{videos[video]}" if len(splits) > 1 else videos[video]
        result[key] = {
            group: {m: _plain(values[part, video]) for m, values in means[group].items()}
            for group, rows in groups.items()
            if (rows & own).any()
        }
    return result


def _each(tables: Mapping[str, Mapping[str, Table]], function: Any) -> dict[str, dict[str, Any]]:
    return {group: {metric: function(table) for metric, table in by.items()} for group, by in tables.items()}


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
