"""Scores of a saliency model: per frame, averaged over videos, split by audio-visual consistency.

Protocol `native`: every predicted frame is scored at the size of its ground truth. The map is brought there
by MATLAB's bicubic resize, blurred if asked, and clipped to the range that it had before (a cubic overshoots,
and a negative saliency has no divergence). Densities are the 8-bit maps. The negatives of the shuffled AUC
are the pixels fixated at other times of the same video.
"""

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from avsd_jax import metrics
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.evaluators.avc import GROUPS, classifier_scores, members
from avsd_jax.evaluators.ground_truth import GroundTruth
from avsd_jax.metrics.maps import is_constant
from avsd_jax.metrics.resize import apply_matrices, bicubic_matrix, gaussian_matrix

Batch = Mapping[str, Any]
PredictFn = Callable[[Batch], Mapping[str, Any]]

# Maps scored by one call: enough to hide the call, little enough to hold at 1080p.
_CHUNK = 32


@dataclass(frozen=True, eq=False)
class Example:
    """A frame to show, with what a model made of it.

    Attributes:
        video_id, frame: which frame it is.
        label: 1 consistent, 0 inconsistent, -1 unlabelled.
        image: the frame, RGB.
        density, fixations: the ground truth, points (x, y) in pixels of the density.
        prediction: the map as it was scored, at the density's size.
        scores: metric -> value.
        gate: whether the audio-visual flow was used; None without a gate.
        probability: of consistency, says the classifier; None without one.
    """

    video_id: str
    frame: int
    label: int
    image: UInt8[np.ndarray, "h w 3"]
    density: UInt8[np.ndarray, "hd wd"]
    fixations: Float[np.ndarray, "n 2"]
    prediction: Float[np.ndarray, "hd wd"]
    scores: dict[str, float]
    gate: bool | None
    probability: float | None


@dataclass(frozen=True, eq=False)
class Frames:
    """One entry per scored frame, in the order of the batches.

    Attributes:
        video, frame: which frame it is.
        label: 1 consistent, 0 inconsistent, -1 unlabelled.
        scores: metric -> values, NaN where a frame has no such score.
        gate: whether the audio-visual flow was used; None without a gate.
        margin: the classifier's logit of "consistent" minus that of "inconsistent"; None without one.
    """

    video: Int[np.ndarray, " n"]
    frame: Int[np.ndarray, " n"]
    label: Int[np.ndarray, " n"]
    scores: dict[str, Float[np.ndarray, " n"]]
    gate: Bool[np.ndarray, " n"] | None
    margin: Float[np.ndarray, " n"] | None


class SaliencyEvaluator:
    """Scores prediction functions on the videos of a store.

    Args:
        store: the split, with the ground truth at its own size.
        smooth_sigma: standard deviation, in pixels of the ground truth, of a Gaussian blur of predictions; 0:
            none. ViNet's published numbers use 2.
        examples: how many frames of each consistency group to return for pictures. They are the middles of
            the longest stretches of a label in videos spread over the store: no score has a say.
    """

    def __init__(self, store: VideoStore, *, smooth_sigma: float = 0.0, examples: int = 2):
        self.store = store
        self.smooth_sigma = float(smooth_sigma)
        self._truth = GroundTruth(store)
        self._targets = _middles(store, examples)

    def run(self, predict_fn: PredictFn, batches: Iterable[Batch], audio_condition: str = "real") -> dict[str, Any]:
        """Scores a prediction function.

        Args:
            predict_fn: batch -> `saliency` [B, h, w] at any size, and where the model has them `gate` [B] and
                `avc_logits` [B, 2].
            batches: with `video_index`, `frame_index` and `avc_label` [B]; rows whose `mask` is false are
                skipped.
            audio_condition: what the batches' sound is, for the record.

        Returns:
            A record of plain values, None where a number does not exist:
            `protocol`: how the numbers were made; `counts`: videos and frames by group, and unlabelled
            frames;
            `scores[group][metric]`: mean over videos of the mean over a video's frames;
            `frame_scores[group][metric]`: mean over all frames; `nan[group][metric]`: frames without that
            score;
            `avc`: see `avc.classifier_scores`; `videos`: id -> group -> metric; `seconds`.
            The entry `examples` alone is not plain: a list of `Example`, for `avsd_jax.report`.

        Raises:
            InputError: there is no frame to score.
        """
        started = time.monotonic()
        frames, shown = self.score_frames(predict_fn, batches)
        protocol = {
            "name": "native",
            "resize": "MATLAB bicubic to the density's size, clipped to the prediction's range",
            "smooth_sigma": self.smooth_sigma,
            "s_auc": "11 bins, negatives: the same video's other fixations, whole pool",
            "average": "frame -> video (NaN dropped) -> dataset (unweighted mean over videos)",
            "audio": audio_condition,
        }
        record = {"protocol": protocol, **summarise(frames, [v.id for v in self.store.videos])}
        return record | {"examples": shown, "seconds": time.monotonic() - started}

    def score_frames(self, predict_fn: PredictFn, batches: Iterable[Batch]) -> tuple[Frames, list[Example]]:
        """Scores every frame of the batches; also returns the frames to show."""
        rows: list[dict[str, Any]] = []
        scores: list[dict[str, float]] = []
        best: dict[int, int] = {}  # place among the targets -> row nearest to it
        for chunk in self._chunks(predict_fn, batches):
            values = self._score(chunk)
            for row, value in zip(chunk, values, strict=True):
                place = self._nearest(row, rows, best)
                if place is not None:
                    best[place] = len(rows)
                keep = ("video", "frame", "label", "gate", "margin") + (("pred",) if place is not None else ())
                rows.append({key: row[key] for key in keep})
                scores.append(value)
        if not rows:
            raise InputError("there is no frame to score: the test split, or the stride, leaves none")

        def column(name: str, dtype: Any) -> np.ndarray | None:
            return None if rows[0][name] is None else np.array([row[name] for row in rows], dtype)

        shown = [self._example(rows[best[place]], scores[best[place]]) for place in sorted(best)]
        frames = Frames(
            video=column("video", int),
            frame=column("frame", int),
            label=column("label", int),
            scores={name: np.array([s[name] for s in scores], float) for name in metrics.METRICS},
            gate=column("gate", bool),
            margin=column("margin", float),
        )
        return frames, shown

    def _chunks(self, predict_fn: PredictFn, batches: Iterable[Batch]) -> Iterator[list[dict[str, Any]]]:
        """Predicted rows in portions whose maps share a size, in the order of the batches."""
        chunk: list[dict[str, Any]] = []
        for row in _rows(predict_fn, batches):
            index = self.store.videos[row["video"]]
            row["size"] = (index.map_height, index.map_width)
            if chunk and (len(chunk) == _CHUNK or row["size"] != chunk[0]["size"]):
                yield chunk
                chunk = []
            chunk.append(row)
        if chunk:
            yield chunk

    def _score(self, chunk: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
        """All metrics of a chunk; padded to full length so that one program serves every chunk."""

        def stack(maps: Iterable[np.ndarray]) -> np.ndarray:
            full = np.stack(list(maps))
            return np.pad(full, [(0, _CHUNK - len(full)), (0, 0), (0, 0)])

        where = [(row["video"], row["frame"]) for row in chunk]
        fixations = stack(self._truth.fixations(*w) for w in where)
        most = max(32, int(fixations.sum(axis=(1, 2)).max()))
        values = _score_maps(
            stack(row["pred"] for row in chunk),
            stack(self._truth.density(*w) for w in where),
            fixations,
            stack(self._truth.pool(*w) for w in where),
            smooth_sigma=self.smooth_sigma,
            max_fixations=1 << (most - 1).bit_length(),
        )
        columns = {name: np.asarray(v, float) for name, v in values.items()}
        return [{name: float(v[i]) for name, v in columns.items()} for i in range(len(chunk))]

    def _nearest(self, row: dict[str, Any], rows: list[dict[str, Any]], best: dict[int, int]) -> int | None:
        """The target that this row comes nearer to than any row before it, if there is one."""
        for place, (video, frame, label, _) in enumerate(self._targets):
            if row["video"] != video or row["label"] != label:
                continue
            if place not in best or abs(row["frame"] - frame) < abs(rows[best[place]]["frame"] - frame):
                return place
        return None

    def _example(self, row: dict[str, Any], scores: dict[str, float]) -> Example:
        video, frame, margin = row["video"], row["frame"], row["margin"]
        density = self._truth.density(video, frame)
        native = to_native(jnp.asarray(row["pred"]), density.shape, self.smooth_sigma)
        return Example(
            video_id=self.store.videos[video].id,
            frame=frame,
            label=row["label"],
            image=self.store.frames(video, [frame])[0],
            density=density,
            fixations=self.store.fixations(video, frame),
            prediction=np.asarray(native),
            scores=scores,
            gate=row["gate"],
            probability=None if margin is None else float(1 / (1 + np.exp(-margin))),
        )


def audit(
    evaluator: SaliencyEvaluator,
    predict_fn: PredictFn,
    make_batches: Callable[[str], Iterable[Batch]],
    conditions: Sequence[str] = ("real", "silent", "shuffled", "noise"),
) -> dict[str, dict[str, Any]]:
    """Scores a prediction function with true and with false sound: `{condition: record}`.

    A model whose scores do not depend on the condition is deaf.

    Args:
        evaluator: scores one condition.
        predict_fn: as for `SaliencyEvaluator.run`.
        make_batches: condition -> batches of the same frames with that sound.
        conditions: what to make.
    """
    return {c: evaluator.run(predict_fn, make_batches(c), audio_condition=c) for c in conditions}


def summarise(frames: Frames, video_ids: Sequence[str]) -> dict[str, Any]:
    """Averages per-frame scores, frame -> video -> dataset, by group; see `SaliencyEvaluator.run`."""
    groups = {group: members(frames.label, group) for group in GROUPS}
    per_video: dict[str, dict[str, dict[str, float | None]]] = {}
    for video in np.unique(frames.video):
        own = frames.video == video
        present = {group: member & own for group, member in groups.items() if (member & own).any()}
        per_video[video_ids[video]] = {group: _means(frames, rows) for group, rows in present.items()}

    def over_videos(group: str, metric: str) -> float | None:
        values = [v[group][metric] for v in per_video.values() if group in v and v[group][metric] is not None]
        return float(np.mean(values)) if values else None

    return {
        "counts": {
            "videos": {group: len(np.unique(frames.video[member])) for group, member in groups.items()},
            "frames": {group: int(member.sum()) for group, member in groups.items()},
            "unlabelled": int((frames.label < 0).sum()),
        },
        "scores": {group: {m: over_videos(group, m) for m in metrics.METRICS} for group in groups},
        "frame_scores": {group: _means(frames, member) for group, member in groups.items()},
        "nan": {
            group: {m: int(np.isnan(frames.scores[m][member]).sum()) for m in metrics.METRICS}
            for group, member in groups.items()
        },
        "avc": classifier_scores(frames.label, frames.margin, frames.gate),
        "videos": per_video,
    }


def to_native(pred: Float[Array, "*b h w"], size: tuple[int, int], smooth_sigma: float) -> Float[Array, "*b H W"]:
    """Brings predictions to the size (H, W) of their ground truth; a constant map becomes NaN throughout.

    Resize and blur are one pair of matrices. The result keeps within the range of the prediction.
    """
    rows, columns = (bicubic_matrix(old, new) for old, new in zip(pred.shape[-2:], size, strict=True))
    if smooth_sigma:
        rows, columns = (gaussian_matrix(len(m), smooth_sigma) @ m for m in (rows, columns))
    low, high = pred.min(axis=(-2, -1), keepdims=True), pred.max(axis=(-2, -1), keepdims=True)
    native = jnp.clip(apply_matrices(pred, rows, columns), low, high)
    return jnp.where(is_constant(pred)[..., None, None], jnp.nan, native)


@functools.partial(jax.jit, static_argnames=("smooth_sigma", "max_fixations"))
def _score_maps(
    pred: Float[Array, "b h w"],
    density: UInt8[Array, "b H W"],
    fixations: Bool[Array, "b H W"],
    pool: Bool[Array, "b H W"],
    *,
    smooth_sigma: float,
    max_fixations: int,
) -> dict[str, Float[Array, "b"]]:
    native = to_native(pred, density.shape[1:], smooth_sigma)
    return metrics.score(native, density.astype(native.dtype) / 255, fixations, pool, max_fixations)


def _rows(predict_fn: PredictFn, batches: Iterable[Batch]) -> Iterator[dict[str, Any]]:
    """The rows of the predicted batches that are no padding."""
    for batch in batches:
        output = {key: np.asarray(value) for key, value in predict_fn(batch).items()}
        logits, gate = output.get("avc_logits"), output.get("gate")
        mask = batch.get("mask", np.ones(len(batch["video_index"]), bool))
        for i in np.flatnonzero(mask):
            yield {
                "video": int(batch["video_index"][i]),
                "frame": int(batch["frame_index"][i]),
                "label": int(batch["avc_label"][i]),
                "pred": output["saliency"][i].astype(np.float32),
                "gate": None if gate is None else bool(gate[i]),
                "margin": None if logits is None else float(logits[i, 1]) - float(logits[i, 0]),
            }


def _means(frames: Frames, rows: Bool[np.ndarray, " n"]) -> dict[str, float | None]:
    """Mean of each metric over the rows that have it."""
    result = {}
    for name, values in frames.scores.items():
        known = values[rows & ~np.isnan(values)]
        result[name] = float(known.mean()) if len(known) else None
    return result


def _middles(store: VideoStore, per_group: int) -> list[tuple[int, int, int, int]]:
    """(video, middle frame, label, length) of the longest stretches of a label, in videos spread over the
    store.

    Unlabelled stretches count only where there are no others.
    """
    longest: dict[int, list[tuple[int, int, int, int]]] = {}
    for video in range(len(store.videos)):
        labels = store.avc_label(video)
        edges = np.flatnonzero(np.diff(labels)) + 1
        runs = list(zip([0, *edges], [*edges, len(labels)], strict=True))
        for label in {int(x) for x in labels}:
            start, stop = max((r for r in runs if labels[r[0]] == label), key=lambda r: r[1] - r[0])
            longest.setdefault(label, []).append((video, int(start + stop) // 2, label, int(stop - start)))
    chosen = []
    for label in [x for x in (1, 0) if x in longest] or list(longest):
        found = longest[label]
        spread = np.linspace(0, len(found) - 1, min(per_group, len(found))).round().astype(int)
        chosen += [found[i] for i in spread]
    return chosen
