"""The temperature of a run's classifier, in the file `calibration.json` beside its configuration.

It belongs to one step. `load_for_inference` adds it to that step's variables, as a collection of its own, so that it
goes wherever they go.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from avsd_jax.common import atomic_files
from avsd_jax.errors import InputError

FILE = "calibration.json"
_COLLECTION, _NAME, _PART = "calibration", "temperature", "classifier"


def write(folder: str | Path, record: Mapping[str, Any]) -> Path:
    """Writes the record of a calibration atomically: `temperature`, `step`, and how it was found; returns its path.

    Raises:
        StorageError: the disk is full or read-only.
    """
    path = Path(folder) / FILE
    atomic_files.write_json(path, dict(record))
    return path


def joined(folder: str | Path, step: int, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Returns variables with the temperature that was found for their step, if there is one.

    Raises:
        InputError: the file is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return dict(variables)
    try:
        record = json.loads(path.read_text())
        temperature, of_step = float(record[_NAME]), int(record["step"])
        if not 1e-30 < temperature < 1e30:  # as float32, too
            raise ValueError(f"temperature {temperature}")
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}): remove it, or calibrate again") from error
    if of_step != step:
        logging.warning("%s is of step %d: ignored at step %d; calibrate again", path, of_step, step)
        return dict(variables)
    found: Any = {_NAME: np.float32(temperature)}
    return {**variables, _COLLECTION: {_PART: found} if _PART in variables["params"] else found}


def split(variables: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Returns a classifier's variables without the temperature, and the temperature; 1 if there is none."""
    own = dict(variables)
    return own, float(own.pop(_COLLECTION, {}).get(_NAME, 1.0))
