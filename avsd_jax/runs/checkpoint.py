"""Checkpoints on disk: one folder per run, `config.json` beside `checkpoints/<step>/`; reading of shared models.

A step holds the item `variables` (`params` and `batch_stats`, all that inference needs), the item `training`
(optimiser state) and, if an average of the parameters is kept, the item `ema`. Orbax commits a step by renaming
its folder, so a run killed at any moment leaves only complete steps.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from flax import linen as nn
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from avsd_jax.common import atomic_files, hub, staging
from avsd_jax.config.base import completed
from avsd_jax.errors import InputError, storage_error
from avsd_jax.models import is_learned
from avsd_jax.runs import temperature, weights_file
from avsd_jax.runs.components import model_from_config
from avsd_jax.runs.places import without_folders
from avsd_jax.runs.save_failures import told_once

Tree = Mapping[str, Any]

CONFIG_FILE = "config.json"
# The variables of a model without weights (`avsd_jax.models.common.network.Network.learned`).
NO_VARIABLES: Tree = {"params": {}}
STEPS_FOLDER = "checkpoints"
_ASIDE = "unreadable-"


def write_config(directory: Path, config: ConfigDict | Mapping[str, Any]) -> None:
    """Writes the run's record `config.json` atomically.

    Raises:
        StorageError: the disk is full or read-only.
    """
    record = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
    atomic_files.write_text(directory / CONFIG_FILE, json.dumps(record, indent=2, sort_keys=True) + "\n")


def read_config(directory: str | Path) -> ConfigDict:
    """Reads the record that `write_config` wrote; fields that records of earlier versions lack get their defaults.

    Args:
        directory: a folder, or the address of a model on a hub, whose folders of another machine are left out.

    Raises:
        InputError: the folder is missing or is not a run, or its record is damaged.
    """
    path = hub.folder(directory) / CONFIG_FILE
    if not path.is_file():
        raise InputError(
            f"{directory} is not a trained model: it has no {CONFIG_FILE}; give the folder of a training run "
            "or one that `python -m avsd_jax.convert` wrote"
        )
    try:
        record = ConfigDict(json.loads(path.read_text()))
    except (ValueError, AttributeError, RecursionError, TypeError) as error:  # not JSON, or not a JSON object
        raise InputError(f"{path} is damaged ({error}): restore it or train again") from error
    return completed(without_folders(record) if hub.is_address(directory) else record)


def saved_steps(directory: str | Path) -> list[int]:
    """Returns the complete steps in a run's folder, in order; none if there is no folder."""
    return sorted(ocp.utils.checkpoint_steps(Path(directory).absolute() / STEPS_FOLDER))


def _items(state: Tree) -> dict[str, ocp.args.CheckpointArgs]:
    return {name: ocp.args.StandardSave(tree) for name, tree in state.items()}


class Checkpointer:
    """Saves and restores the training state of one run.

    The state is a mapping of item name to tree: `variables`, `training` and, optionally, `ema`. Incomplete
    saves of an earlier process are removed first.

    Args:
        directory: of the run; steps are in its subfolder `checkpoints/`.
        keep: number of steps to keep.
        best: name of a score and "max" or "min": the steps that are best by it are kept; by default the newest are.
    """

    def __init__(self, directory: str | Path, keep: int = 3, best: tuple[str, str] | None = None):
        self._directory = Path(directory).absolute() / STEPS_FOLDER
        ranking = {}
        if best is not None:
            metric, mode = best
            ranking = {"best_fn": lambda scores: scores[metric], "best_mode": mode}
        self._options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, **ranking)
        self._remove_unfinished()
        self._open()

    def _open(self) -> None:
        try:
            self._manager = ocp.CheckpointManager(self._directory, options=self._options)
        except OSError as error:
            storage = storage_error(error, self._directory)
            if storage is None:
                raise
            raise storage from error

    def _remove_unfinished(self) -> None:
        if jax.process_index() == 0:
            for path in self._directory.glob(f"*{ocp.utils.TMP_DIR_SUFFIX}*"):
                shutil.rmtree(path, ignore_errors=True)

    def save(self, step: int, state: Tree, scores: Mapping[str, float] | None = None) -> None:
        """Saves `state` as `step` and returns when it is on disk; a step that is saved already is unchanged.

        Args:
            step: number of updates done.
            state: item name -> tree.
            scores: of the step, if steps are kept by score.

        Raises:
            StorageError: the disk is full or read-only; earlier steps stay intact.
        """
        if step in self._manager.all_steps():
            return
        try:
            with told_once():
                args = ocp.args.Composite(**_items(state))
                # A step that is kept for its scores may precede an existing one.
                saved = self._manager.save(step, args=args, metrics=scores, force=scores is not None)
                # Waiting costs little relative to the steps between two saves, and a full disk is reported at once.
                self._manager.wait_until_finished()
        except Exception as error:  # orbax and tensorstore raise many types
            self._remove_unfinished()
            storage = storage_error(error, self._directory)
            if storage is None:
                raise
            raise storage from error
        if not saved:
            raise RuntimeError(f"checkpoint {step} was refused: {self._directory} already holds a later step")

    def restore_latest(self, template: Tree) -> tuple[int, Tree] | None:
        """Restores the newest readable step, on any devices, whatever devices it was saved from.

        Args:
            template: a state of the required shapes and dtypes. NumPy arrays come back as NumPy arrays, JAX arrays with
                the sharding that they have in the template.

        Returns:
            `(step, state)`, or None if no step was saved. A newer step whose files are damaged is moved aside (not
            deleted) and logged; nothing else is moved.

        Raises:
            InputError: there are steps and none of them can be read, or the newest one does not fit the template.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        args = ocp.args.Composite(**{name: ocp.args.StandardRestore(tree) for name, tree in template.items()})
        failures: dict[int, str] = {}
        for step in steps:
            try:
                restored = self._manager.restore(step, args=args)
                state = {name: restored[name] for name in template}
            except MemoryError:  # no evidence of a damaged step
                raise
            except Exception as error:  # orbax and tensorstore raise many types for a damaged step
                if self._is_whole(step):
                    raise self._does_not_fit(step, _first_line(error)) from error
                failures[step] = _first_line(error)
                continue
            difference = _difference(dict(template), state)
            if difference:
                raise self._does_not_fit(step, difference)
            self._put_aside(failures)
            return step, state
        if failures:
            step, reason = next(iter(failures.items()))
            raise InputError(
                f"no checkpoint in {self._directory} can be read (step {step}: {reason}); restore one of them or use "
                "another --workdir"
            )
        return None

    def _does_not_fit(self, step: int, reason: str) -> InputError:
        return InputError(
            f"no checkpoint in {self._directory} fits this configuration (step {step}: {reason}); "
            "use another --workdir or the configuration it was made with"
        )

    def _is_whole(self, step: int) -> bool:
        """Returns whether a step has its items, all readable as plain arrays without a template."""
        found = {name for name in _handlers() if (self.step_folder(step) / name).is_dir()}
        with ocp.CheckpointManager(self._directory, item_handlers=_handlers()) as manager:
            try:
                for name in found:
                    _read_item(manager, step, name)
            except Exception:  # orbax and tensorstore raise many types for a damaged step
                return False
        return {"variables", "training"} <= found

    def _put_aside(self, failures: Mapping[int, str]) -> None:
        if not failures:
            return
        for step, reason in failures.items():
            logging.warning("checkpoint %d is damaged (%s): moved aside", step, reason)
            if jax.process_index() == 0:
                target = self._directory.parent / f"{_ASIDE}{step}"
                shutil.rmtree(target, ignore_errors=True)
                shutil.move(self.step_folder(step), target)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoints moved aside")
        self._manager.close()
        self._open()

    @property
    def run_folder(self) -> Path:
        """Returns the folder of the run."""
        return self._directory.parent

    def step_folder(self, step: int) -> Path:
        """Returns the folder of a step."""
        return self._directory / str(step)

    def best(self) -> tuple[int, dict[str, float]] | None:
        """Returns the best step and its scores; None if no step was saved."""
        step = self._manager.best_step()
        return None if step is None else (step, self._manager.metrics(step))

    def latest_step(self) -> int | None:
        """Returns the newest committed step."""
        return self._manager.latest_step()

    def wait(self) -> None:
        """Blocks until every started save is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for saves and releases the folder."""
        self.wait()
        self._manager.close()


def _difference(wanted: Tree, found: Tree) -> str:
    """Returns where the shapes or dtypes of two trees of one structure differ, as "name is A there and B here"."""
    pairs = zip(jax.tree.leaves_with_path(wanted), jax.tree.leaves(found), strict=True)
    for (path, here), there in pairs:
        here, there = (f"{x.dtype}{list(x.shape)}" for x in (here, there))
        if here != there:
            return f"{jax.tree_util.keystr(path, simple=True, separator='/')} is {there} there and {here} here"
    return ""


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def save_variables(directory: str | Path, config: ConfigDict | Mapping[str, Any], variables: Tree) -> None:
    """Writes a model folder that `load_for_inference` reads: step 0 and the configuration.

    Args:
        directory: must be absent or empty; it is written atomically.
        config: the model's record (`model_name`, `model`, and other known fields).
        variables: `{"params": ..., "batch_stats": ...}`.

    Raises:
        InputError: `directory` holds something already, or cannot be written to.
        StorageError: the disk is full or read-only.
    """
    with staging.new_folder(directory) as folder:
        write_config(folder, config)
        checkpointer = Checkpointer(folder)
        try:
            checkpointer.save(0, {"variables": dict(variables)})
        finally:
            checkpointer.close()


def _read_item(manager: ocp.CheckpointManager, step: int, item: str) -> Tree:
    """Reads one item as NumPy arrays, whatever devices it was saved from."""
    shapes = manager.item_metadata(step)[item]
    if shapes is None:
        raise InputError(f"the checkpoint {manager.directory}/{step} holds no {item}")
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes.tree)
    args = ocp.args.PyTreeRestore(item=shapes.tree, restore_args=as_numpy)
    return manager.restore(step, args=ocp.args.Composite(**{item: args}))[item]


def load_for_inference(directory: str | Path) -> tuple[ConfigDict, dict[str, Any]]:
    """Loads a trained, converted or shared model, on any number of devices.

    Args:
        directory: of the model, or its address on a hub, `hf://owner/name` (see `avsd_jax.common.hub`).

    Returns:
        `(config, variables)`: the run's record and `{"params": ..., "batch_stats": ...}` as NumPy arrays. If the
        run kept an average of its parameters, `params` is the average. If its classifier is calibrated, the temperature
        is in `calibration` (see `avsd_jax.runs.temperature`). A model without weights has empty variables.

    Raises:
        InputError: the folder is not a run, or holds no readable step, or weights of another model.
    """
    directory = hub.pinned(directory)
    config, variables, step = load_newest(directory)
    return config, temperature.joined(hub.folder(directory), step, variables)


def load_model(directory: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Loads a trained, converted or shared model: `model.apply(variables, batch, train=False)` predicts.

    A program of your own takes `jax.jit(..., compiler_options=avsd_jax.common.compiler.compiler_options())` to be as
    fast on a CPU as the commands are.

    Args:
        directory: as of `load_for_inference`.

    Returns:
        The network and its variables, `{"params": ..., "batch_stats": ...}`, as NumPy arrays.

    Raises:
        InputError: the folder holds no model.
    """
    config, variables = load_for_inference(directory)
    return model_from_config(config), variables


def load_newest(directory: str | Path) -> tuple[ConfigDict, dict[str, Any], int]:
    """Returns what `load_for_inference` does, without a temperature, and the step; raises as it does."""
    directory = hub.pinned(directory)
    folder, config = hub.folder(directory), read_config(directory)
    if "model_name" in config and not is_learned(config.model_name):
        return config, dict(NO_VARIABLES), 0
    if weights_file.is_in(folder) and not (folder / STEPS_FOLDER).is_dir():
        return config, *weights_file.read(folder, config)
    if not (folder / STEPS_FOLDER).is_dir():
        raise InputError(
            f"{directory} has no {STEPS_FOLDER}/ and no {hub.WEIGHTS}: the training saved no step; train it first"
        )
    failures = []
    for step in reversed(saved_steps(folder)):
        try:
            return config, _read_step(folder, step), step
        except Exception as error:  # orbax and tensorstore raise many types for a damaged step
            failures.append(f"{step}: {_first_line(error)}")
            logging.warning("checkpoint %s does not restore (%s): trying the one before", step, failures[-1])
    reasons = "; ".join(failures) or "it is empty"
    raise InputError(f"no readable step in {folder / STEPS_FOLDER} ({reasons}): train or convert again")


def load_step(directory: str | Path, step: int) -> tuple[ConfigDict, dict[str, Any], int]:
    """Returns what `load_newest` does, of one step.

    Raises:
        InputError: the folder is not a run, or holds no such step, or it cannot be read.
    """
    folder = hub.folder(directory)
    steps = saved_steps(folder)
    if step not in steps:
        raise InputError(f"{directory} has no step {step}: choose among {', '.join(map(str, steps)) or 'none'}")
    config = read_config(folder)
    try:
        return config, _read_step(folder, step), step
    except Exception as error:  # orbax and tensorstore raise many types for a damaged step
        raise InputError(f"step {step} of {directory} cannot be read ({_first_line(error)}): choose another") from error


def _read_step(folder: Path, step: int) -> dict[str, Any]:
    """Reads the variables of a step; with the average of its parameters, if it has one."""
    with ocp.CheckpointManager(folder.absolute() / STEPS_FOLDER, item_handlers=_handlers()) as manager:
        variables = dict(_read_item(manager, step, "variables"))
        if (folder / STEPS_FOLDER / str(step) / "ema").is_dir():
            variables["params"] = _read_item(manager, step, "ema")["params"]
    return variables


def _handlers() -> dict[str, ocp.CheckpointHandler]:
    return {name: ocp.PyTreeCheckpointHandler() for name in ("variables", "training", "ema")}
