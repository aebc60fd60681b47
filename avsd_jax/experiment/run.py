"""Trains and scores the rows of a configuration."""

import contextlib
import os
import subprocess
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from avsd_jax.common import logs
from avsd_jax.data import dataset_names
from avsd_jax.errors import InputError
from avsd_jax.experiment import report
from avsd_jax.experiment.comparison import Row, assemble, check_machine, plan, variables_of, write_record
from avsd_jax.runs.revisions import with_commits
from avsd_jax.runs.run_folder import check_processes_agree, locked
from avsd_jax.runs.stores import scoring_store
from avsd_jax.sources.build import build
from avsd_jax.training import loop
from avsd_jax.training.score import evaluate

MODES = ("train", "eval", "train_and_eval")


def run(config: ConfigDict, workdir: str | Path, mode: str = "train_and_eval") -> dict[str, Any]:
    """Trains and scores the rows of a configuration.

    Args:
        config: as the files in `configs/` make it.
        workdir: folder of the run; each row gets a subfolder.
        mode: `train`, `eval` (of what is trained already) or `train_and_eval`.

    Returns:
        The report's record (see `avsd_jax.experiment.report`); empty for `mode="train"`, without labelled rows, and on
        all processes but the first.
    """
    workdir = Path(workdir)
    config = with_commits(config, workdir, look_up=mode != "eval")
    check_processes_agree(config, workdir)
    if "scam" in config:
        raise InputError("this configuration makes maps to train on: run it with python -m avsd_jax.scam")
    logs.stage("checking the configuration", jax.process_index())
    rows = plan(config, workdir, mode)
    if config.build_data:
        # Every process requests it: one builds, the others wait for it, or build on their own machine.
        for name in dataset_names.members(config.dataset):
            build(name, config.data_dir, num_workers=os.cpu_count() or 1)
    if mode != "train":
        for row in (row for row in rows if row.label):
            scoring_store(row.config)  # fails here, not after training
    # Scoring alone may run beside a training.
    with contextlib.nullcontext() if mode == "eval" else locked(workdir), logs.kept_in(workdir, jax.process_index()):
        return _train_and_score(config, workdir, rows, mode)


def _train_and_score(config: ConfigDict, workdir: Path, rows: Sequence[Row], mode: str) -> dict[str, Any]:
    check_machine(rows, mode)
    seconds = {}
    if mode != "eval":
        for row in rows:
            if not row.learned:
                write_record(row)
        trained = [row for row in rows if row.trains or row.assembled]
        for k, row in enumerate(trained, 1):
            doing = "training" if row.trains else "assembling"
            logs.stage(f"{doing} {k} of {len(trained)}: {row.label or row.name}", jax.process_index())
            if row.assembled:
                assemble(row)
                continue
            started = time.monotonic()
            loop.train(row.config, row.folder, parts=row.parts)
            seconds[row.name] = time.monotonic() - started
    if mode == "train":
        return {}
    # Restoring a checkpoint is a collective operation, and each process scores its share; one writes.
    labelled, scored = [row for row in rows if row.label], []
    if not labelled:  # all are stages of something else
        return {}
    for k, row in enumerate(labelled, 1):
        logs.stage(f"scoring {k} of {len(labelled)}: {row.label}", jax.process_index())
        scored.append(score(row, seconds))
    return report.write(workdir, config, scored, provenance()) if jax.process_index() == 0 else {}


def score(row: Row, seconds: dict[str, float]) -> dict[str, Any]:
    """Scores one row, trained or without weights: `{"label", "conditions", "train_seconds", "eval_seconds"}`."""
    started = time.monotonic()
    conditions = evaluate(row.config, row.parts, variables_of(row))
    return {
        "label": row.label,
        "conditions": conditions,
        "curve": report.training_curve(row.folder),
        "train_seconds": seconds.get(row.name),
        "eval_seconds": time.monotonic() - started,
    }


def provenance() -> dict[str, str]:
    """Returns the versions of what computed a result, and the commit if the code is a checkout."""
    names = ("avsd-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    versions = {name: metadata.version(name) for name in names}
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return versions | {"commit": found.stdout.strip() or "unknown", "backend": jax.default_backend()}
