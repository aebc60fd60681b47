"""Scores of a model on the test split of its configuration."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from avsd_jax.batch import model_inputs
from avsd_jax.data import pipeline
from avsd_jax.runs.components import Inference, make_forward
from avsd_jax.runs.stores import scoring_store
from avsd_jax.scoring import evaluator


def make_predict_fn(model: nn.Module, variables: Mapping[str, Any]) -> Callable[[Mapping], dict[str, np.ndarray]]:
    """`predict(batch) -> {"saliency": [B, H, W], "gate": [B], "avc_logits": [B, 2]}`, as far as the model has them."""
    forward, placed = make_forward(model), jax.device_put(variables)
    return lambda batch: jax.device_get(forward(placed, model_inputs(batch)))


def evaluate(config: ConfigDict, parts: Inference, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Scores the configured model on the test split, with its audio audit if it uses audio.

    Args:
        config: the run's record; `eval_stride`, `audit` and `smooth_sigma` say what is scored.
        parts: what is built of it.
        variables: `{"params": ..., "batch_stats": ...}`.

    Returns:
        `{condition: record}` with the condition `real` and, if `config.audit`, `silent`, `shuffled` and `noise`; see
        `avsd_jax.scoring.evaluator` for a record.

    Raises:
        InputError: the data is not prepared, or nobody watched it.
    """
    store = scoring_store(config)
    scorer = evaluator.SaliencyEvaluator(store, smooth_sigma=config.smooth_sigma)
    predict = make_predict_fn(parts.model, variables)
    conditions = pipeline.AUDIO_CONDITIONS if config.audit and parts.model.uses_audio else ("real",)

    def batches(condition: str) -> Iterator[dict[str, np.ndarray]]:
        return pipeline.eval_batches(
            store,
            parts.spec,
            batch_size=config.eval_batch_size,
            stride=config.eval_stride,
            audio_condition=condition,
        )

    return evaluator.audit(scorer, predict, batches, conditions)
