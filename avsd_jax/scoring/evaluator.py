"""Scores of a saliency model: per frame, averaged over videos, split by audio-visual consistency.

Protocol `native` (`avsd_jax.scoring.protocols`): every predicted frame is scored at the size of its ground truth. The
map is resized by MATLAB's bicubic filter, optionally blurred, and clipped to its previous range (a cubic filter
overshoots, and a negative saliency has no divergence). Densities are the 8-bit maps. The negatives of the shuffled AUC
are the pixels fixated at other times of the same video.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from avsd_jax.common.parallel import gather
from avsd_jax.data.preprocessing.vinet import Preprocessing
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.scoring import protocols
from avsd_jax.scoring.groups import with_macro
from avsd_jax.scoring.protocols import Protocol
from avsd_jax.scoring.scorer import Predicted, Scorer
from avsd_jax.scoring.summary import Frames, summarise

Batch = Mapping[str, Any]
PredictFn = Callable[[Batch], Mapping[str, Any]]

Scored = tuple[Predicted, dict[str, float]]

_NO_MAP = np.zeros((0, 0), np.float32)


@dataclass(frozen=True, eq=False)
class Example:
    """A frame to show, with the prediction of a model.

    Attributes:
        video_id, frame: identify the frame.
        label: 1 consistent, 0 inconsistent, -1 unlabelled.
        image: the frame, RGB.
        density, fixations: the ground truth; points (x, y) in pixels of the density map.
        prediction: the map as it was scored, at the size of the density map.
        scores: metric -> value.
        gate: whether the audio-visual stream was used; None without a gate.
        probability: of consistency, from the classifier; None without one.
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


class SaliencyEvaluator:
    """Scores prediction functions on the videos of a store.

    Args:
        store: the split, with the ground truth at its own size.
        smooth_sigma: standard deviation, in pixels of the ground truth, of a Gaussian blur of predictions; 0:
            none. ViNet's published numbers use 2.
        examples: how many frames of each consistency group to return for figures. They are the middles of
            the longest segments of a label in videos spread over the store, chosen independently of the scores.
        shared: whether each process of the job scores batches of its own, and gets the scores of all.
        protocol: another protocol than `native`; it decides about frames at the start of a video, too.
        preprocessing: of the model's frames, which knows what part of a map shows the frame.
    """

    def __init__(
        self,
        store: VideoStore,
        *,
        smooth_sigma: float = 0.0,
        examples: int = 2,
        shared: bool = False,
        protocol: Protocol = protocols.NATIVE,
        preprocessing: Preprocessing | None = None,
    ):
        self.store = store
        self._shared = shared
        self._preprocessing = preprocessing or Preprocessing()
        if smooth_sigma:
            protocol = dataclasses.replace(protocol, smooth_sigma=float(smooth_sigma))
        self._scorer = Scorer(store, protocol)
        self._targets = _middles(store, examples)

    def run(self, predict_fn: PredictFn, batches: Iterable[Batch], audio_condition: str = "real") -> dict[str, Any]:
        """Scores a prediction function.

        Args:
            predict_fn: batch -> `saliency` [B, h, w] at any size, and if the model has them `gate` [B] and
                `avc_logits` [B, 2].
            batches: with `video_index`, `frame_index` and `avc_label` [B]; rows whose `mask` is false are
                skipped.
            audio_condition: the kind of audio in the batches, for the record.

        Returns:
            A record of plain values, None if a number does not exist:
            `protocol`: how the numbers were computed; the entries of `summary.summarise`, `avc` with the macro
            accuracy; `seconds`; and if several datasets are joined `datasets`: the same entries for each, without
            `videos`.
            Only the entry `examples` is not plain: a list of `Example`, for `avsd_jax.experiment.report`.

        Raises:
            InputError: there is no frame to score.
        """
        started = time.monotonic()
        frames, shown = self.score_frames(predict_fn, batches)
        protocol = self._scorer.protocol
        record = {"protocol": protocol.as_record() | {"audio": audio_condition}}
        ids = [video.id for video in self.store.videos]
        record |= summarise(frames, ids, protocol)
        if len(self.store.parts) > 1:
            each = {name: np.isin(frames.video, part) for name, part in self.store.parts.items()}
            summaries = {name: summarise(frames[rows], ids, protocol) for name, rows in each.items() if rows.any()}
            record["datasets"] = {
                name: {key: value for key, value in summary.items() if key != "videos"}
                for name, summary in summaries.items()
            }
        each = {name: summary["avc"] for name, summary in record.get("datasets", {}).items()}
        record["avc"] = with_macro(record["avc"], each or None)
        return record | {"examples": shown, "seconds": time.monotonic() - started}

    def score_frames(self, predict_fn: PredictFn, batches: Iterable[Batch]) -> tuple[Frames, list[Example]]:
        """Scores every frame of the batches; also returns the frames to show.

        Raises:
            InputError: there is no frame to score.
        """
        scored: list[Scored] = []
        best: dict[int, Scored] = {}  # position among the targets -> row nearest to it
        first = self._scorer.protocol.unscored_start
        rows = (row for row in _rows(predict_fn, batches) if row.frame >= first)
        for row, values in self._scorer.stream(map(self._of_frame, rows)):
            place = self._nearest(row, best)
            if place is not None:
                best[place] = row, values
            scored.append((dataclasses.replace(row, values=_NO_MAP), values))  # maps of a whole split would not fit
        if self._shared:
            scored, best = self._of_all_processes(scored, best)
        rows, scores = [row for row, _ in scored], [values for _, values in scored]
        if not rows:
            raise InputError("there is no frame to score: the test split, or the stride, leaves none")

        def column(name: str, dtype: Any) -> np.ndarray | None:
            values = [getattr(row, name) for row in rows]
            return None if values[0] is None else np.array(values, dtype)

        frames = Frames(
            part=np.zeros(len(rows), int),
            video=column("video", int),
            frame=column("frame", int),
            label=column("label", int),
            scores={name: np.array([s[name] for s in scores], float) for name in self._scorer.protocol.metrics},
            gate=column("gate", bool),
            margin=column("margin", float),
        )
        return frames, [self._example(*best[place]) for place in sorted(best)]

    def _of_frame(self, row: Predicted) -> Predicted:
        """Cuts a map to the part that shows the frame."""
        index = self.store.videos[row.video]
        values = self._preprocessing.frame_part(row.values, (index.height, index.width))
        return row if values is row.values else dataclasses.replace(row, values=values)

    def _of_all_processes(
        self, scored: list[Scored], best: Mapping[int, Scored]
    ) -> tuple[list[Scored], dict[int, Scored]]:
        """Returns what all processes of the job scored, in the order of a single process."""
        parts = gather((scored, best))
        joined = sorted((one for rows, _ in parts for one in rows), key=lambda one: (one[0].video, one[0].frame))
        nearest: dict[int, Scored] = {}
        for one in sorted((one for _, shown in parts for one in shown.values()), key=lambda one: one[0].frame):
            place = self._nearest(one[0], nearest)
            if place is not None:
                nearest[place] = one
        return joined, nearest

    def _nearest(self, row: Predicted, best: Mapping[int, Scored]) -> int | None:
        """Returns the target to which this row is nearer than any row before it, if there is one."""
        for place, (video, frame, label, _) in enumerate(self._targets):
            if row.video != video or row.label != label:
                continue
            if place not in best or abs(row.frame - frame) < abs(best[place][0].frame - frame):
                return place
        return None

    def _example(self, row: Predicted, scores: dict[str, float]) -> Example:
        return Example(
            video_id=self.store.videos[row.video].id,
            frame=row.frame,
            label=row.label,
            image=self.store.frames(row.video, [row.frame])[0],
            density=self.store.density(row.video, row.frame),
            fixations=self.store.fixations(row.video, row.frame),
            prediction=self._scorer.scored_map(row),
            scores=scores,
            gate=row.gate,
            probability=None if row.margin is None else float(1 / (1 + np.exp(-row.margin))),
        )


def audit(
    evaluator: SaliencyEvaluator,
    predict_fn: PredictFn,
    make_batches: Callable[[str], Iterable[Batch]],
    conditions: Sequence[str] = ("real", "silent", "shuffled", "noise"),
) -> dict[str, dict[str, Any]]:
    """Scores a prediction function with the real and with replaced audio: `{condition: record}`.

    A model whose scores do not depend on the condition ignores its audio input.

    Args:
        evaluator: scores one condition.
        predict_fn: as for `SaliencyEvaluator.run`.
        make_batches: condition -> batches of the same frames with that audio.
        conditions: the conditions to score.
    """
    return {c: evaluator.run(predict_fn, make_batches(c), audio_condition=c) for c in conditions}


def _rows(predict_fn: PredictFn, batches: Iterable[Batch]) -> Iterator[Predicted]:
    """Yields the rows of the predicted batches that are not padding."""
    for batch in batches:
        output = {key: np.asarray(value) for key, value in predict_fn(batch).items()}
        logits, gate = output.get("avc_logits"), output.get("gate")
        mask = batch.get("mask", np.ones(len(batch["video_index"]), bool))
        for i in np.flatnonzero(mask):
            yield Predicted(
                video=int(batch["video_index"][i]),
                frame=int(batch["frame_index"][i]),
                values=output["saliency"][i].astype(np.float32),
                label=int(batch["avc_label"][i]),
                gate=None if gate is None else bool(gate[i]),
                margin=None if logits is None else float(logits[i, 1]) - float(logits[i, 0]),
            )


def _middles(store: VideoStore, per_group: int) -> list[tuple[int, int, int, int]]:
    """Returns (video, middle frame, label, length) of the longest segments of a label, in videos spread over the store.

    Unlabelled segments are only used if there are no others.
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
