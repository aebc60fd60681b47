"""Scoring of a model on the test split of its configuration; every process of a job scores its share."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from flax import linen as nn
from ml_collections import ConfigDict

from avsd_jax.batch import model_inputs
from avsd_jax.data import audio, dataset_names, pipeline
from avsd_jax.data.store import VideoStore
from avsd_jax.evaluation import leaks
from avsd_jax.runs.classifier import Classifier
from avsd_jax.runs.components import Inference, make_forward
from avsd_jax.runs.origin import imported_from
from avsd_jax.runs.sequence import SequenceForward, by_phase, in_frame_order
from avsd_jax.runs.stores import scoring_store
from avsd_jax.scoring import evaluator, protocols
from avsd_jax.scoring.consistency import Grid
from avsd_jax.scoring.protocols import Protocol
from avsd_jax.scoring.summary import Frames

# Equal models share their compiled program: scoring during training, at its end, and with other seeds.
_forward = functools.lru_cache(maxsize=4)(make_forward)


def make_predict_fn(model: nn.Module, variables: Mapping[str, Any]) -> Callable[[Mapping], dict[str, np.ndarray]]:
    """Builds `predict(batch) -> {"saliency": [B, H, W], "gate": [B], "avc_logits": [B, 2]}`, as the model has them.

    The logits are divided by the temperature of the classifier, if it is calibrated. See `make_sequence_fn` for a model
    of sequences.
    """
    if model.num_maps:
        return make_sequence_fn(model, variables)
    forward, placed = _forward(model), jax.device_put(variables)
    classifier = Classifier.of(model, variables)

    def predict(batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        output = jax.device_get(forward(placed, model_inputs(batch)))
        if classifier is not None:
            output["avc_logits"] = output["avc_logits"] / classifier.temperature
        return output

    return predict


def make_sequence_fn(model: nn.Module, variables: Mapping[str, Any]) -> Callable[[Mapping], dict[str, np.ndarray]]:
    """Builds `predict(batch) -> {"saliency": [T, H, W], "gate": [T], "avc_logits": [T, 2]}` of a model of sequences.

    For the clips of each video in order. A batch is a clip of each phase, as `pipeline.eval_batches` gives it, with
    labels and logits of each frame that they map; each state begins anew with a video.
    """
    forward = SequenceForward(_forward(model), jax.device_put(variables), model.carries)
    classifier = Classifier.of(model, variables)

    def predict(batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        phases = len(batch["video"])
        inputs = {key: value for key, value in model_inputs(batch).items() if key not in ("avc_label", "avc_logits")}
        if model.gate == "labels":
            inputs["frame_labels"] = by_phase(batch["avc_label"], phases)
        if "avc_logits" in batch:
            inputs["avc_logits"] = by_phase(batch["avc_logits"], phases)
        output = forward(inputs, first=bool(batch["frame_index"][0] == 0))
        rows = {key: in_frame_order(np.asarray(value)) for key, value in output.items()}
        if classifier is not None:
            rows["avc_logits"] = rows["avc_logits"] / classifier.temperature
        return rows

    return predict


def evaluate(config: ConfigDict, parts: Inference, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Scores the configured model on the test split, with its audio audit if it uses audio.

    Every process of a job must call it; each gets the scores of all.

    Args:
        config: the run's record; `eval_stride`, `avc_every`, `audit` and `smooth_sigma` are read.
        parts: what is built of it.
        variables: `{"params": ..., "batch_stats": ...}` in host memory.

    Returns:
        `{condition: record}` with the condition `real` and, if `config.audit`, `silent`, `shuffled` (where two videos
        or more have audio) and `noise`; see `avsd_jax.scoring.evaluator` for a record.

    Raises:
        InputError: the data is not built, or has no eye-tracking data.
    """
    store = scoring_store(config)
    for dataset in dataset_names.members(config.dataset):
        if warning := leaks.sentence(config.model_name, imported_from(config), dataset):
            logging.warning("%s", warning)
    scorer = _scorer(config, parts, store)
    predict = make_predict_fn(parts.model, variables)
    hears = parts.spec.audio or parts.spec.avc is not None
    conditions = audio.conditions_for(store) if config.audit and hears else ("real",)
    if config.audit and hears and "shuffled" not in conditions:
        logging.warning("%s has audio in fewer than two videos: models are not scored with exchanged audio", store.name)
    batches = functools.partial(_batches, config, parts, variables, store, config.eval_stride, None)
    return evaluator.audit(scorer, predict, batches, conditions)


def score_frames(
    config: ConfigDict,
    parts: Inference,
    variables: Mapping[str, Any],
    predict: evaluator.PredictFn,
    *,
    protocol: Protocol = protocols.NATIVE,
    videos: Sequence[int] | None = None,
) -> Frames:
    """Scores frames of the test split, without an average over them; every process of a job must call it.

    Args:
        config: the run's record; `eval_stride`, `avc_every` and `smooth_sigma` are read.
        parts: what is built of it.
        variables: `{"params": ..., "batch_stats": ...}` in host memory.
        predict: what `make_predict_fn` returns, or the same with more around it.
        protocol: of the scores.
        videos: positions of the videos; None for all.

    Raises:
        InputError: the data is not built, or has no eye-tracking data; or no frame is scored.
    """
    store = scoring_store(config)
    scorer = _scorer(config, parts, store, examples=0, protocol=protocol)
    batches = _batches(config, parts, variables, store, config.eval_stride, videos, "real")
    return scorer.score_frames(predict, batches)[0]


def spread_videos(store: VideoStore, number: int) -> list[int]:
    """Returns the positions of some videos, spread over a split; of all if it has no more."""
    number = min(number, len(store.videos))
    return np.linspace(0, len(store.videos) - 1, number).round().astype(int).tolist()


def score_part(
    config: ConfigDict, parts: Inference, store: VideoStore, variables: Mapping[str, Any]
) -> dict[str, float]:
    """Scores some videos, spread over the test split; every process of a job must call it.

    Args:
        config: the run's record; `evaluate_videos`, `evaluate_stride`, `avc_every` and `smooth_sigma` are read.
        parts: what is built of it.
        store: the test split.
        variables: `{"params": ..., "batch_stats": ...}` in host memory.

    Returns:
        Metric -> mean over the videos; NaN if it is undefined.
    """
    scorer = _scorer(config, parts, store, examples=0)
    videos = spread_videos(store, config.evaluate_videos)
    record = scorer.run(
        make_predict_fn(parts.model, variables),
        _batches(config, parts, variables, store, config.evaluate_stride, videos, "real"),
    )
    return {metric: math.nan if mean is None else mean for metric, mean in record["scores"]["all"].items()}


def _scorer(
    config: ConfigDict, parts: Inference, store: VideoStore, examples: int = 2, protocol: Protocol = protocols.NATIVE
) -> evaluator.SaliencyEvaluator:
    return evaluator.SaliencyEvaluator(
        store,
        smooth_sigma=config.smooth_sigma,
        examples=examples,
        shared=True,
        protocol=protocol,
        preprocessing=parts.spec.preprocessing,
    )


def _batches(
    config: ConfigDict,
    parts: Inference,
    variables: Mapping[str, Any],
    store: VideoStore,
    stride: int,
    videos: Sequence[int] | None,
    condition: str,
) -> Iterator[dict[str, Any]]:
    """Yields this process's share of the clips of a split, of all of its videos by default.

    On a time grid the classifier of a gated model runs first, and the batches have its logits instead of its inputs;
    always so, if a clip has a gate for each of its frames.
    """
    apart = config.avc_every or parts.spec.num_maps
    classifier = Classifier.of(parts.model, variables) if apart else None
    spec = parts.spec if classifier is None else dataclasses.replace(parts.spec, avc=None)
    processes = jax.process_count()
    batches = pipeline.eval_batches(
        store,
        spec,
        batch_size=processes * -(-config.eval_batch_size // processes),
        stride=stride,
        videos=videos,
        audio_condition=condition,
        process_index=jax.process_index(),
        process_count=processes,
    )
    if classifier is None:
        return batches
    if spec.num_maps:
        shown = range(len(store.videos)) if videos is None else videos
        targets = [(video, frame) for video in shown for frame in range(store.videos[video].num_frames)]
    else:
        targets = pipeline.eval_targets(store, spec, stride, videos)
    grid = Grid.of(
        classifier, store, config.avc_every, targets, batch_size=config.eval_batch_size, audio_condition=condition
    )
    return grid.joined(batches)
