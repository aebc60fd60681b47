"""The rows of a comparison: one configuration each, derived from the configuration file.

`config.rows` names them in training order and `config.row_changes` holds the changes of each:

  label       its name in tables; a row without a label is a stage for other rows and is not scored
  init        row whose variables initialise it
  init_parts  rows whose variables initialise its submodules
  weights     row whose variables it is scored with; it is not trained itself (the label oracle). With `init_parts` the
              submodules named there are those of other rows, and what is put together is saved as the row's model
  effort      factor on `total_steps`
  others      fields of the configuration; `model` and `losses` are merged option by option
"""

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from avsd_jax import models
from avsd_jax.common.by_name import load_module
from avsd_jax.common.parallel import check_batch_size, make_mesh
from avsd_jax.config.base import completed, completed_row
from avsd_jax.config.fields import FIELDS, ROW_FIELDS, check_fields, check_row_fields
from avsd_jax.errors import InputError
from avsd_jax.experiment import checks, dry_run
from avsd_jax.runs import temperature
from avsd_jax.runs.checkpoint import (
    NO_VARIABLES,
    STEPS_FOLDER,
    Checkpointer,
    load_for_inference,
    saved_steps,
    write_config,
)
from avsd_jax.runs.components import Components
from avsd_jax.runs.initial import assembled_from, started_from, starting_folders
from avsd_jax.runs.run_folder import check_same_run
from avsd_jax.runs.stores import training_store
from avsd_jax.training.loop import training_batches


@dataclass(frozen=True)
class Row:
    """One run of the comparison.

    Attributes:
        name: its folder's name.
        label: its name in tables; empty if it is not scored.
        config: its whole configuration.
        folder: folder of its training, or of the model that is put together.
        weights: folder whose variables it is scored with; `folder` itself if it trains or is put together.
        assembled: whether it is put together from other rows, `config.init` and `config.init_parts`, not trained.
        parts: the objects built from its configuration; None before `plan` has checked it.
    """

    name: str
    label: str
    config: ConfigDict
    folder: Path
    weights: Path
    assembled: bool = False
    parts: Components | None = None

    @property
    def trains(self) -> bool:
        """Returns whether the row is trained itself."""
        return self.folder == self.weights and not self.assembled and self.learned

    @property
    def learned(self) -> bool:
        """Returns whether the row's model has weights."""
        return models.is_learned(self.config.model_name)


def plan(config: ConfigDict, workdir: str | Path, mode: str = "train_and_eval") -> list[Row]:
    """Returns the rows of a configuration in training order; a configuration without rows is one row in `workdir`.

    Every row is built in shapes, a whole training step and its initial variables, so that an error in the last row is
    reported before the first one trains.

    Args:
        config: as the files in `configs/` make it.
        workdir: folder of the run; nothing is written.
        mode: `train`, `eval` or `train_and_eval`; only what the mode needs is checked.

    Raises:
        InputError: a row is not described, or refers to one that does not come before it; or its configuration cannot
            be run, see `checks.validate` and `dry_run.trace`.
    """
    derived, rows = derive(config, workdir), []
    for row in derived:
        with _named(row, derived):
            parts = checks.validate(row.config)
            rows.append(replace(row, parts=replace(parts, shared=len(derived) > 1)))
    shapes: dict[str, Any] = {}
    for row in rows:
        with _named(row, rows):
            if row.folder == row.weights:
                shapes[str(row.folder)] = dry_run.variables(row.config, row.parts)
                if mode != "eval":
                    if row.trains:
                        dry_run.trace(row.config, row.parts)
                    else:
                        _check_untrained(row)
                    _check_start(row, shapes)
            if row.label and mode != "train":
                own = row.folder == row.weights
                dry_run.check_prediction(row.config, row.parts, None if own else shapes[str(row.weights)])
    if mode == "train" and not any(row.learned for row in rows):
        raise InputError(f"{rows[0].config.model_name} has no weights to train: score it by --mode=eval")
    return rows


def derive(config: ConfigDict, workdir: str | Path) -> list[Row]:
    """Returns the rows of a configuration in training order; only their own fields are checked.

    Raises:
        InputError: see `plan`.
    """
    workdir = Path(workdir)
    if not isinstance(config, ConfigDict):
        raise InputError(f"the configuration is a {type(config).__name__}: let get_config return a ConfigDict")
    check_fields(config)
    config = completed(config)
    if not config.rows:
        return [Row(config.run_name, config.run_name, config, workdir, workdir)]
    rows: list[Row] = []
    for name in config.rows:
        _check_row(name, config, rows)
        changes = completed_row(config.row_changes[name])
        assembled = bool(changes.weights and changes.init_parts)
        weights = name if assembled else changes.weights or name
        made = _row_config(config, name, changes, workdir)
        rows.append(Row(name, changes.label, made, workdir / name, workdir / weights, assembled))
    return rows


def write_record(row: Row) -> None:
    """Writes the record of a row whose model has no weights, so that its folder can be used as a model's.

    Raises:
        InputError: the folder holds another run.
        StorageError: the disk is full or read-only.
    """
    check_same_run(row.config, row.folder)
    if jax.process_index() == 0:
        row.folder.mkdir(parents=True, exist_ok=True)
        write_config(row.folder, row.config)


def variables_of(row: Row) -> dict[str, Any]:
    """Returns the variables that a row is scored with; raises as `load_for_inference` does."""
    return load_for_inference(row.weights)[1] if row.learned else dict(NO_VARIABLES)


def assemble(row: Row) -> None:
    """Puts the model of a row together from those of other rows and saves it, under the step of the one that it starts
    from; does nothing if it is saved already. Every process of a job must call it.

    Raises:
        InputError: the rows lack a part of the model or have it in another shape, or the folder holds another run.
        StorageError: the disk is full or read-only.
    """
    _check_untrained(row)
    folders, steps = starting_folders(row.config), saved_steps(row.folder)
    sources = {part: load_for_inference(folder)[1] for part, folder in folders.items()}
    variables = assembled_from(dry_run.variables(row.config, row.parts), sources, folders)
    step = saved_steps(folders[""])[-1]
    if steps == [step] and _same(load_for_inference(row.folder)[1], variables):
        return
    multihost_utils.sync_global_devices("the assembled model is compared")
    if jax.process_index() == 0:  # those rows were trained further; a calibration was of the earlier classifier
        shutil.rmtree(row.folder / STEPS_FOLDER, ignore_errors=True)
        (row.folder / temperature.FILE).unlink(missing_ok=True)
        write_config(row.folder, row.config)
    multihost_utils.sync_global_devices("the folder of an assembled model is empty")
    checkpointer = Checkpointer(row.folder)
    try:
        checkpointer.save(step, {"variables": variables})
    finally:
        checkpointer.close()


def _check_untrained(row: Row) -> None:
    """Raises InputError if the folder of a row that is put together holds another run, or one that was trained."""
    steps = saved_steps(row.folder)
    if not steps:
        return
    check_same_run(row.config, row.folder)
    if (row.folder / STEPS_FOLDER / str(steps[-1]) / "training").exists():
        raise InputError(
            f"{row.folder} holds a run that was trained to step {steps[-1]}, and {row.name!r} is put together from "
            "other rows: use another --workdir"
        )


def _same(saved: Mapping[str, Any], variables: Mapping[str, Any]) -> bool:
    """Returns whether two models have the same variables."""
    before = {name: saved.get(name, {}) for name in variables}
    return jax.tree.structure(before) == jax.tree.structure(dict(variables)) and jax.tree.all(
        jax.tree.map(np.array_equal, before, dict(variables))
    )


def check_machine(rows: Iterable[Row], mode: str = "train_and_eval") -> None:
    """Raises InputError if a row that will be trained does not fit the devices or its data.

    Called once the data is built, so that no such error comes between two trainings.
    """
    for row in rows if mode != "eval" else ():
        if row.trains:
            check_batch_size(row.config.batch_size, make_mesh())
            training_batches(row.config, row.parts.spec, training_store(row.config), 0)


def _check_start(row: Row, known: Mapping[str, Any]) -> None:
    """Raises InputError if the runs that a row starts from are missing or have other shapes.

    Args:
        row: the row.
        known: shapes of the variables of rows, by folder: its own and those before it.
    """
    folders, sources = starting_folders(row.config), {}
    if row.trains:
        _warn(row, bool(folders))
    for part, folder in folders.items():
        field = f"init_parts.{part}" if part else "init"
        try:
            sources[part] = known[folder] if folder in known else load_for_inference(folder)[1]
        except InputError as error:
            raise InputError(f"{field}={folder!r}: {error}") from error
    combine = assembled_from if row.assembled else started_from
    combine(known[str(row.folder)], sources, folders)


def _warn(row: Row, starts: bool) -> None:
    """Logs what makes a training another one than is published, though it runs."""
    told = row.config.run_name, row.config.model_name
    if row.parts.model.frozen and not starts:
        logging.warning(
            "%s: a part of %s is never trained, and would stay as it was drawn: name a run in init or init_parts", *told
        )
    if row.parts.model.weak and not row.config.target_maps:
        logging.warning("%s: %s learns from eye-tracking data: set target_maps for weak supervision", *told)


@contextlib.contextmanager
def _named(row: Row, rows: Sequence[Row]) -> Iterator[None]:
    """Adds the row's name to errors raised within the context, if there are several rows."""
    try:
        yield
    except InputError as error:
        if len(rows) == 1:
            raise
        raise InputError(f"row {row.name!r}: {error}") from error


def _check_row(name: str, config: ConfigDict, before: Sequence[Row]) -> None:
    """Raises InputError if a row cannot be derived."""
    if name not in config.row_changes:
        raise InputError(f"row {name!r} is not in row_changes: choose among {', '.join(config.row_changes)}")
    if Path(name).name != name or name.startswith("."):
        raise InputError(f"row {name!r} of rows cannot be a folder's name: use letters, digits, _ and -")
    check_row_fields(config.row_changes[name], name)
    changes = completed_row(config.row_changes[name])
    known = [row.name for row in before if row.trains or row.assembled]
    if name in (row.name for row in before):
        raise InputError(f"row {name!r} is in rows twice: name each row once")
    if changes.weights and changes.init:
        raise InputError(
            f"row {name!r} has init={changes.init!r} and weights={changes.weights!r}: give init to train it, or "
            "weights to score it without training"
        )
    for source in _sources(changes):
        if source not in known:
            raise InputError(
                f"row {name!r} needs {source!r}, which is no row before it ({', '.join(known)}) with a model"
            )
    for field in changes:
        if field not in config and field not in FIELDS and field not in ROW_FIELDS:
            raise InputError(f"row {name!r} changes {field!r}, which is no field of a configuration: correct it")


def _sources(changes: ConfigDict) -> list[str]:
    """Returns the rows that a row takes variables from."""
    return [source for source in (changes.init, changes.weights, *changes.init_parts.values()) if source]


def _row_config(config: ConfigDict, name: str, changes: ConfigDict, workdir: Path) -> ConfigDict:
    result = config.copy_and_resolve_references()
    result.rows, result.row_changes = (), ConfigDict()
    result.run_name = changes.label or name
    start = changes.init or (changes.weights if changes.init_parts else "")
    if start:
        result.init = str(workdir / start)
    if changes.weights:  # its parts are those of rows alone
        result.init_parts = ConfigDict(dict.fromkeys(result.init_parts, ""))
    for part, source in changes.init_parts.items():
        with result.init_parts.unlocked():
            result.init_parts[part] = str(workdir / source) if source else ""
    # A comparison shortened to a step or two still trains each of its rows.
    result.total_steps = max(min(1, config.total_steps), round(config.total_steps * changes.effort))
    with result.unlocked(), result.ignore_type():
        for field, value in changes.items():
            if field == "losses" and isinstance(value, ConfigDict):
                result.losses.update(value)
            elif field not in ROW_FIELDS:
                result[field] = value
    check_fields(result, ("model_name", "model"))
    if result.model_name != config.model_name:
        # Another model only gets the options that it has: a visual-only one has no fusion and no gate.
        known = {field.name for field in fields(load_module("avsd_jax.models", result.model_name, "model").Model)}
        result.model = ConfigDict({k: v for k, v in result.model.items() if k in known})
    with result.model.unlocked(), result.model.ignore_type():  # it may have options that the configuration's lacks
        result.model.update(changes.model)
    return result.lock()
