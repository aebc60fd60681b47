"""Scoring during training on a part of the test split; the best step so far is kept in `best/`, a model folder."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict

from avsd_jax.data.store import VideoStore
from avsd_jax.metrics import LOWER_IS_BETTER
from avsd_jax.runs import checkpoint
from avsd_jax.runs.components import Inference
from avsd_jax.training.score import score_part

BEST_FOLDER = "best"


class BestStep:
    """Scores a run every `evaluate_every` steps and keeps the variables of the best step, also across restarts.

    A step with the same score as an earlier one does not replace it; a step whose score is NaN is never kept.

    Args:
        config: the run's; `evaluate_every`, `evaluate_videos`, `evaluate_stride` and `best_metric` are read.
        parts: the objects built from it, for one device.
        workdir: the run's folder; `load_for_inference` reads `best/` in it.
        store: the videos to score on.
    """

    def __init__(self, config: ConfigDict, parts: Inference, workdir: Path, store: VideoStore):
        self._config, self._parts, self._store = config, parts, store
        self._lower = config.best_metric in LOWER_IS_BETTER
        mode = "min" if self._lower else "max"
        self._kept = checkpoint.Checkpointer(workdir / BEST_FOLDER, keep=1, best=(config.best_metric, mode))
        if jax.process_index() == 0:
            checkpoint.write_config(workdir / BEST_FOLDER, config)

    def is_due(self, step: int) -> bool:
        """Returns whether a step is scored: every `evaluate_every`-th, and the last one."""
        return step % self._config.evaluate_every == 0 or step == self._config.total_steps

    def score(self, step: int, variables: Mapping[str, Any]) -> dict[str, float]:
        """Scores variables and keeps them if they are the best so far; every process must call it.

        Args:
            step: number of updates done.
            variables: to evaluate with, `{"params": ..., "batch_stats": ...}`.

        Returns:
            Scalars for the log: `test/CC` and so on; NaN if a score is undefined.
        """
        scores = score_part(self._config, self._parts, self._store, jax.device_get(variables))
        if self._is_better(scores[self._config.best_metric]):
            self._kept.save(step, {"variables": dict(variables)}, scores)
            logging.info(
                "step %d is the best so far: %s=%.4f", step, self._config.best_metric, scores[self._config.best_metric]
            )
        return {f"test/{metric}": value for metric, value in scores.items()}

    def _is_better(self, score: float) -> bool:
        if math.isnan(score):
            return False
        best = self._kept.best()
        if best is None:
            return True
        earlier = best[1][self._config.best_metric]
        if math.isnan(earlier):
            return True
        return score < earlier if self._lower else score > earlier

    def close(self) -> None:
        """Releases the folder."""
        self._kept.close()
