"""Checkpoints on disk: one folder a run, `config.json` beside `checkpoints/<step>/`.

A step holds the item `variables` (`params` and `batch_stats`, all that inference needs), the item `training`
(optimiser state) and, where an average of the parameters is kept, the item `ema`. Orbax commits a step by renaming
its folder, so a run killed at any moment leaves only whole steps.
"""

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from ml_collections import ConfigDict

from avsd_jax import staging
from avsd_jax.errors import InputError

Tree = Mapping[str, Any]

CONFIG_FILE = "config.json"
STEPS_FOLDER = "checkpoints"
_ASIDE = "unreadable-"


def write_config(directory: Path, config: ConfigDict | Mapping[str, Any]) -> None:
    """Writes the run's record `config.json`, whole or not at all."""
    record = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
    temporary = directory / f".{CONFIG_FILE}.tmp"
    temporary.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    temporary.rename(directory / CONFIG_FILE)


def read_config(directory: str | Path) -> ConfigDict:
    """Reads the record that `write_config` made.

    Raises:
        InputError: the folder is missing, is no run, or its record is damaged.
    """
    path = Path(directory) / CONFIG_FILE
    if not path.is_file():
        raise InputError(
            f"{directory} is not a trained model: it has no {CONFIG_FILE}; give the folder of a training run "
            "or one that `python -m avsd_jax.convert` wrote"
        )
    try:
        return ConfigDict(json.loads(path.read_text()))
    except (ValueError, AttributeError) as error:  # no JSON; JSON, but no object
        raise InputError(f"{path} is damaged ({error}): restore it or train again") from error


def _items(state: Tree) -> dict[str, ocp.args.CheckpointArgs]:
    return {name: ocp.args.StandardSave(tree) for name, tree in state.items()}


class Checkpointer:
    """Saves and restores the training state of one run.

    The state is a mapping of item name to tree: `variables`, `training` and, optionally, `ema`.
    """

    def __init__(self, directory: str | Path, keep: int = 3):
        self._directory = Path(directory).absolute() / STEPS_FOLDER
        self._keep = keep
        self._open()

    def _open(self) -> None:
        options = ocp.CheckpointManagerOptions(max_to_keep=self._keep, create=True)
        self._manager = ocp.CheckpointManager(self._directory, options=options)

    def save(self, step: int, state: Tree) -> None:
        """Starts to save `state` as `step`; a step that is saved already stays as it is."""
        if step in self._manager.all_steps():
            return
        if not self._manager.save(step, args=ocp.args.Composite(**_items(state))):
            raise RuntimeError(f"checkpoint {step} was refused: {self._directory} already holds a later step")

    def restore_latest(self, template: Tree) -> tuple[int, Tree] | None:
        """Restores the newest step that can be read.

        Args:
            template: a state of the wanted shapes, dtypes and shardings.

        Returns:
            `(step, state)`, or None where no step was saved. A newer step that does not restore is moved aside (not
            deleted) and logged.

        Raises:
            InputError: steps are there and none of them fits the template.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        wanted = jax.tree.map(ocp.utils.to_shape_dtype_struct, dict(template))
        args = ocp.args.Composite(**{name: ocp.args.StandardRestore(tree) for name, tree in wanted.items()})
        failures: dict[int, Exception] = {}
        for step in steps:
            try:
                restored = self._manager.restore(step, args=args)
            except Exception as error:  # orbax and tensorstore raise many types for a damaged step
                failures[step] = error
                continue
            self._put_aside(failures)
            return step, {name: restored[name] for name in template}
        if failures:
            step, error = next(iter(failures.items()))
            raise InputError(
                f"no checkpoint in {self._directory} fits this configuration (step {step}: {_first_line(error)}); "
                "use another --workdir or the configuration it was made with"
            )
        return None

    def _put_aside(self, failures: Mapping[int, Exception]) -> None:
        for step, error in failures.items():
            logging.warning("checkpoint %d does not restore (%s): moved aside", step, _first_line(error))
            target = self._directory.parent / f"{_ASIDE}{step}"
            shutil.rmtree(target, ignore_errors=True)
            shutil.move(self._directory / str(step), target)
        if failures:
            self._manager.close()
            self._open()

    def latest_step(self) -> int | None:
        """The newest committed step."""
        return self._manager.latest_step()

    def wait(self) -> None:
        """Returns when every started save is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits and lets the folder go."""
        self.wait()
        self._manager.close()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Turns off what Orbax logs and TensorStore's threads print of writes that fail.

    Those threads end some time after the failure, so that their hook stays where the block raises.
    """
    verbosity, hook = logging.get_verbosity(), sys.unraisablehook

    def ignore_closed_loops(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, RuntimeError):
            hook(unraisable)

    logging.set_verbosity(logging.FATAL)
    sys.unraisablehook = ignore_closed_loops
    try:
        yield
        sys.unraisablehook = hook
    finally:
        logging.set_verbosity(verbosity)


def save_variables(directory: str | Path, config: ConfigDict | Mapping[str, Any], variables: Tree) -> None:
    """Writes a model folder that `load_for_inference` reads: step 0 and the configuration.

    Args:
        directory: must be absent or empty; it appears whole or not at all.
        config: the model's record (`model_name`, `model`, and what else is known of it).
        variables: `{"params": ..., "batch_stats": ...}`.

    Raises:
        InputError: `directory` holds something already, or cannot be written to.
        StorageError: the disk is full or read-only.
    """
    # Orbax reports a full disk with hundreds of lines; what it raises says the same.
    with staging.new_folder(directory) as folder, _quiet():
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
    """Loads a trained or converted model, on any number of devices.

    Returns:
        `(config, variables)`: the run's record and `{"params": ..., "batch_stats": ...}` as NumPy arrays. Where the
        run kept an average of its parameters, `params` is the average.

    Raises:
        InputError: the folder is no run, or holds no step that can be read.
    """
    config = read_config(directory)
    folder = Path(directory).absolute() / STEPS_FOLDER
    if not folder.is_dir():
        raise InputError(f"{directory} has no {STEPS_FOLDER}/: the training saved no step; train it first")
    failures = []
    with ocp.CheckpointManager(folder, item_handlers=_handlers()) as manager:
        for step in sorted(manager.all_steps(), reverse=True):
            try:
                variables = dict(_read_item(manager, step, "variables"))
                if (folder / str(step) / "ema").is_dir():
                    variables["params"] = _read_item(manager, step, "ema")["params"]
                return config, variables
            except Exception as error:  # orbax and tensorstore raise many types for a damaged step
                failures.append(f"{step}: {_first_line(error)}")
                logging.warning("checkpoint %s does not restore (%s): trying the one before", step, failures[-1])
    raise InputError(f"no readable step in {folder} ({'; '.join(failures) or 'it is empty'}): train or convert again")


def _handlers() -> dict[str, ocp.CheckpointHandler]:
    return {name: ocp.PyTreeCheckpointHandler() for name in ("variables", "training", "ema")}
