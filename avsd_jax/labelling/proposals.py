"""Labels that a classifier proposes, from the table that `python -m avsd_jax.avc` writes."""

import csv
import math
from pathlib import Path
from typing import Any

from avsd_jax.common import safe_paths
from avsd_jax.errors import InputError
from avsd_jax.labelling.track import runs_of
from avsd_jax.sources import label_formats


def read(path: Path, num_frames: int) -> dict[str, Any]:
    """Returns a proposal as plain values: `runs`, [start, stop, label] of frames from 0, and `probabilities`.

    Args:
        path: the table, `consistency.csv`.
        num_frames: of the video.

    Returns:
        Probabilities are [frame from 0, value] wherever the value changes, to 3 digits; none without audio.

    Raises:
        InputError: the table is damaged, or of a video of another length.
    """
    labels = label_formats.read(path, "consistency")
    if len(labels) != num_frames:
        raise InputError(f"{path} labels {len(labels)} frames of a video that has {num_frames}: make it again")
    changes: list[list[float]] = []
    for row in csv.DictReader(safe_paths.read_text(path).splitlines()):
        value = float(row["probability"])
        if not math.isnan(value) and (not changes or changes[-1][1] != round(value, 3)):
            changes.append([int(row["frame"]) - 1, round(value, 3)])
    return {"runs": [list(run) for run in runs_of(labels)], "probabilities": changes}
