"""Predictions of a server, kept in its folder: each complete with its record, or not there at all."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avsd_jax.prediction.map_writers import VIDEO_RECORD
from avsd_jax.web.video_library import Video

RECORD, SCORES, FILES = "record.json", "scores.json", "files"
_RESULTS = "results"


class Results:
    """The results in `out/results/<id>`: the files that `predict` writes in `files`, scores, and the record.

    The record is written last: a folder without one is of a prediction that was interrupted, and removed at the start.

    Args:
        out: the server's own folder.
    """

    def __init__(self, out: Path):
        self._folder = out.resolve() / _RESULTS
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            if not (folder / RECORD).exists():
                shutil.rmtree(folder, ignore_errors=True)

    def all(self) -> list[dict[str, Any]]:
        """Returns the records, the latest first."""
        names = os.listdir(self._folder) if self._folder.is_dir() else ()
        records = [record for name in names if (record := self.get(name)) is not None]
        return sorted(records, key=lambda record: record["made"], reverse=True)

    def get(self, result_id: str) -> dict[str, Any] | None:
        """Returns the record of a result; None if there is none."""
        if not result_id.isalnum():
            return None
        with contextlib.suppress(OSError, ValueError):
            return {**json.loads((self._folder / result_id / RECORD).read_text("utf-8")), "id": result_id}
        return None

    def folder(self, result_id: str) -> Path:
        """Returns the folder of a result that `get` or `id_of` named."""
        return self._folder / result_id

    def files(self, result_id: str) -> list[Path]:
        """Returns the files of a result: those that `predict` writes, and the scores."""
        folder = self.folder(result_id)
        written = sorted(p for p in (folder / FILES).rglob("*") if p.is_file() and ".predict-" not in str(p))
        return written + ([folder / SCORES] if (folder / SCORES).exists() else [])

    def overlay(self, result_id: str) -> Path | None:
        """Returns the overlay of a result."""
        return next((self.folder(result_id) / FILES).glob("*_overlay.mp4"), None)

    def timeline(self, result_id: str) -> Path:
        """Returns the timeline of a result."""
        return self.folder(result_id) / FILES / VIDEO_RECORD

    def remove(self, result_id: str) -> None:
        """Removes a result; its record first, so that no half of it is shown."""
        folder = self.folder(result_id)
        (folder / RECORD).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def id_of(video: Video, options: Mapping[str, Any]) -> str:
    """Returns the id of a prediction: of one file by one model with the same options."""
    said = json.dumps([video.id, video.stamp, dict(options)], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]
