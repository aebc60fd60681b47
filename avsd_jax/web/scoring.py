"""The task `score`: scores of a result by frame, as `python -m avsd_jax.evaluate --ground_truth=FOLDER` gives them."""

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avsd_jax.common.atomic_files import write_json
from avsd_jax.errors import InputError
from avsd_jax.evaluation.ground_truth_folder import FolderTruth
from avsd_jax.scoring.scorer import Predicted, Scorer
from avsd_jax.web.reports import Report
from avsd_jax.web.results import FILES, SCORES


def run(report: Report, video_id: str, out: str, ground_truth: str) -> dict[str, Any]:
    """Writes the scores of a result's maps by the protocol `native`.

    Args:
        report: gets the progress.
        video_id: name of the video in the folder of ground truth.
        out: folder of the result.
        ground_truth: the folder; see docs/ground_truth_folder.md.

    Raises:
        InputError: the ground truth is damaged, or has no such video.
    """
    report.phase("reading the ground truth")
    scorer = _scorer(ground_truth)
    numbers = [number for number, video in enumerate(scorer.store.videos) if video.id == video_id]
    if not numbers:
        raise InputError(f"{ground_truth} has no video {video_id!r}: give it the name of the video's file")
    (number,) = numbers
    total = scorer.store.videos[number].num_frames
    report.phase("scoring", total)

    def maps() -> Iterator[Predicted]:
        for frame, path in enumerate(sorted((Path(out) / FILES / "maps").glob("*.png"))[:total]):
            levels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
            yield Predicted(number, frame, levels, stored=True)

    columns: dict[str, list[float | None]] = {name: [] for name in scorer.protocol.metrics}
    for row, values in scorer.stream(maps()):
        for name, column in columns.items():
            column.append(round(values[name], 6) if math.isfinite(values[name]) else None)
        report.progress(row.frame + 1, total)
    known = {name: [value for value in column if value is not None] for name, column in columns.items()}
    record = {
        "ground_truth": str(ground_truth),
        "protocol": scorer.protocol.name,
        "num_frames": total,
        "means": {name: round(float(np.mean(values)), 6) if values else None for name, values in known.items()},
        "frames": columns,
    }
    write_json(Path(out) / SCORES, record)
    return {"result": Path(out).name}


@functools.lru_cache(maxsize=1)
def _scorer(ground_truth: str) -> Scorer:
    return Scorer(FolderTruth(ground_truth), precision="float64")
