"""The task `predict`: what `python -m avsd_jax.predict` writes, with a record for the page."""

import datetime
import functools
import shutil
import time
from pathlib import Path
from typing import Any

from avsd_jax.common.atomic_files import write_json
from avsd_jax.prediction.predictor import DEFAULT_MODEL, Predictor
from avsd_jax.web.reports import Report
from avsd_jax.web.results import FILES, RECORD


def run(
    report: Report, video: str, out: str, checkpoint: str | None, mode: str, record: dict[str, Any]
) -> dict[str, Any]:
    """Predicts a video; the result is complete when its record is there.

    Args:
        report: gets the progress.
        video: path of the file.
        out: folder of the result.
        checkpoint: folder of the model, or None for the one without weights.
        mode: of the prediction; see `Predictor.run`.
        record: what the record says of the video and the model.

    Raises:
        InputError: the video or the model cannot be read.
        StorageError: the disk is full or read-only.
    """
    began = time.monotonic()
    folder = Path(out)
    try:
        report.phase("loading the model")
        predictor = _predictor(checkpoint)
        report.phase("reading the video and compiling the model")
        result = predictor.run(video, folder / FILES, mode=mode, progress=report.progress)
        made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        known = {
            "model": predictor.config.model_name,
            "num_frames": result.num_frames,
            "notes": list(result.notes),
            "made": made,
            "seconds": round(time.monotonic() - began, 1),
        }
        write_json(folder / RECORD, record | known)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return {"result": folder.name}


@functools.lru_cache(maxsize=1)
def _predictor(checkpoint: str | None) -> Predictor:
    return Predictor(checkpoint, model=DEFAULT_MODEL)
