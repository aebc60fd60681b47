"""Prediction of many files by a model that is loaded once: what is done is skipped, what fails stops nothing else.

Every file gets a folder of its own in the output folder (`avsd_jax.prediction.inputs`), with what the prediction of it
alone would write. Its record has digests of the model with its options and of the file, by which a later run knows what
is done. `summary.json` tells what became of each.
"""

import contextlib
import dataclasses
import functools
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tqdm import tqdm

from avsd_jax.common import beam, hub
from avsd_jax.common.atomic_files import write_json
from avsd_jax.common.logs import stage
from avsd_jax.common.wording import printable, some
from avsd_jax.errors import InputError, storage_error
from avsd_jax.media.survey import Survey, survey
from avsd_jax.prediction import picture_files, picture_predictor, provenance
from avsd_jax.prediction.decision import Decision
from avsd_jax.prediction.frame_choice import FrameChoice
from avsd_jax.prediction.inputs import SUMMARY, Input, collect
from avsd_jax.prediction.map_writers import PICTURES_RECORD, VIDEO_RECORD, check_folder, is_whole
from avsd_jax.prediction.picture_predictor import PicturePredictor
from avsd_jax.prediction.predictor import DEFAULT_MODEL, Predictor
from avsd_jax.prediction.result_files import threads
from avsd_jax.scoring import markdown

DONE, SKIPPED, FAILED = "done", "skipped", "failed"
# Of each record: the field of its name, and that of its rows.
_RECORDS = {VIDEO_RECORD: ("video", "frames"), PICTURES_RECORD: ("source", "pictures")}


@dataclasses.dataclass(frozen=True)
class Options:
    """The model and the options of a prediction, as `Predictor` and `PicturePredictor` take them; None: the default."""

    checkpoint: str | None = None
    model: str | None = None
    batch_size: int | None = None
    precision: str | None = None
    frame_step: int | None = None
    maps: str = "png"
    overlay: bool = True
    mode: str = "exact"
    stride: int | None = None
    every: float | None = None
    decision: Decision | None = None
    frames: FrameChoice | None = None


class Models:
    """The predictors of videos and of pictures, each loaded when it is first asked for."""

    def __init__(self, options: Options):
        self.options = options

    @functools.cached_property
    def videos(self) -> Predictor:
        """Returns the predictor of videos; raises InputError as it does."""
        given = self.options
        return Predictor(
            given.checkpoint, given.batch_size or 4, given.model or DEFAULT_MODEL, given.precision, given.frame_step
        )

    @functools.cached_property
    def pictures(self) -> PicturePredictor:
        """Returns the predictor of pictures; raises InputError as it does."""
        given = self.options
        return PicturePredictor(given.checkpoint, given.model or picture_predictor.DEFAULT_MODEL, given.precision)

    @functools.cached_property
    def of_videos(self) -> str:
        """Returns the digest of the model and the options of videos.

        Raises:
            InputError: an option is wrong, or has no effect on the model.
        """
        given = self.options
        how = self.videos.traits.settings(given.mode, given.stride, given.every, given.decision)
        return self.videos.made_by(maps=given.maps, how=how, frames=given.frames, overlay=given.overlay)

    @functools.cached_property
    def of_pictures(self) -> str:
        """Returns the digest of the model and the options of pictures.

        Raises:
            InputError: the maps are of videos, or nothing is asked for.
        """
        given = self.options
        picture_files.check_options(given.maps, given.overlay)
        return self.pictures.made_by(maps=given.maps, overlay=given.overlay)

    def predict(self, file: Input, out: Path, surveyed: Callable[[], Survey], *, progress: bool) -> int:
        """Writes the results of a file; returns the number of its frames.

        Raises:
            InputError, StorageError: as the predictors do.
        """
        given = self.options
        if file.still:
            shown = {"maps": given.maps, "overlay": given.overlay}
            return self.pictures.run(file.path, out, **shown, progress=False).num_pictures
        how = {"mode": given.mode, "stride": given.stride, "every": given.every, "decision": given.decision}
        shown = {"maps": given.maps, "overlay": given.overlay, "frames": given.frames}
        return self.videos.run(file.path, out, **how, **shown, progress=progress, surveyed=surveyed()).num_frames


def run(
    given: Sequence[str],
    out: str | Path,
    options: Options,
    *,
    overwrite: bool = False,
    beam_options: Sequence[str] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Predicts files, and those of folders and lists; writes their results and the summary.

    Args:
        given: as `inputs.collect` takes them.
        out: folder to write to; created if missing.
        options: the model and how it predicts.
        overwrite: make results anew that were made by another model, with other options, or of another file.
        beam_options: flags of Apache Beam, which then does the work, see `avsd_jax.common.beam`.
        progress: show progress bars on stderr.

    Returns:
        The content of `summary.json`: numbers of files that are `done`, `skipped`, `failed` and, if the run was
        interrupted, `left`; `frames`, `seconds` and `frames_per_second` of those that are done now; `files`, a row
        each with `input`, `results`, `status`, and `frames` and `seconds`, or the `error`.

    Raises:
        InputError: before anything is written: a path does not exist, an option is wrong, or there are results of other
            files, or, without `overwrite`, of other models or options.
        StorageError: the disk is full or read-only.
    """
    out = Path(out)
    files, notes = collect(given, out)
    _check_out(out)
    if options.checkpoint is not None:
        # One commit of a model on a hub for all files, and for all workers of Beam.
        options = dataclasses.replace(options, checkpoint=hub.pinned(options.checkpoint))
    models = Models(options)
    files, more = _predictable(files, models)
    for note in (*notes, *more):
        logging.warning("%s", note)
    done = _done(files, models, out, overwrite)
    rows = [_row(file, SKIPPED) for file in done]
    finished = set(done)
    left = [file for file in files if file not in finished]
    if beam_options is None:
        work = _here(left, models, out, progress)
    else:
        work = _on_beam(left, options, out, beam_options)
    started = time.monotonic()
    try:
        with contextlib.closing(work):
            for row in work:
                rows.append(row)
    finally:
        summary = _summary(files, rows, time.monotonic() - started)
        if rows:
            write_json(out / SUMMARY, summary)
    return summary


def table(summary: dict[str, Any]) -> str:
    """Formats a summary as a Markdown table, and the speed."""
    frames = {DONE: str(summary["frames"])}
    kinds = [kind for kind in (DONE, SKIPPED, FAILED) if summary[kind] or kind == DONE]
    columns = {"": kinds, "files": [str(summary[kind]) for kind in kinds]}
    shown = markdown.table(columns | {"frames": [frames.get(kind, "") for kind in kinds]})
    if not summary["frames"]:
        return shown.strip()
    speed = f"{summary['frames_per_second']:.1f} frames per second, all in"
    return f"{shown.strip()}\n\n{summary['seconds']:.1f} s: {speed}"


def _check_out(out: Path) -> None:
    """Raises InputError if an output folder is none, or has files of something else."""
    if os.path.exists(out) and not os.path.isdir(out):
        raise InputError(f"{out} is a file: give a folder as --out")
    for record in _RECORDS:
        if os.path.exists(out / record):
            raise InputError(f"{out / record} is of one prediction: give another --out, or a folder within that one")
    if os.path.exists(out / SUMMARY):
        try:
            ours = "frames_per_second" in json.loads((out / SUMMARY).read_text())
        except (OSError, ValueError, TypeError):
            ours = False
        if not ours:
            raise InputError(f"{out / SUMMARY} is not of a prediction: give another --out, or move that file elsewhere")


def _predictable(files: Sequence[Input], models: Models) -> tuple[tuple[Input, ...], list[str]]:
    """Loads what predicts the files, and checks the options; returns the files without pictures that were only found
    in folders if the model maps no pictures, and notes.

    Raises:
        InputError: see `Models`; or a picture is named, and the model maps none.
    """
    stills = [file for file in files if file.still]
    if len(stills) < len(files):
        _ = models.of_videos
    if stills:
        try:
            _ = models.of_pictures
        except InputError as error:
            if len(stills) == len(files) or not all(file.searched for file in stills):
                raise
            return tuple(file for file in files if not file.still), [
                f"pictures are left out ({len(stills)} of {len(files)} files): {error}"
            ]
    return tuple(files), []


def _done(files: Sequence[Input], models: Models, out: Path, overwrite: bool) -> list[Input]:
    """Returns the files whose results are there.

    Raises:
        InputError: there are results of other files; or, without `overwrite`, of another model, options or contents.
    """
    done, others = [], []
    for file in files:
        folder = out / file.name
        record = PICTURES_RECORD if file.still else VIDEO_RECORD
        (picture_files.check_folder if file.still else check_folder)(folder, file.path.name)
        if not os.path.exists(folder / record) or not is_whole(folder):
            continue
        name, rows = _RECORDS[record]
        told = provenance.header(folder / record, rows)
        if told.get(name) != file.path.name:
            raise InputError(f"{folder / record} is not of a prediction: give another --out, or move it elsewhere")
        wanted = models.of_pictures if file.still else models.of_videos
        if told.get("made_by") == wanted and provenance.is_of_file(told.get("input"), file.path):
            done.append(file)
        else:
            others.append(file.name)
    if others and not overwrite:
        raise InputError(
            f"{len(others)} of the results in {out} are of another model, of other options or of earlier contents of "
            f"the file ({some(map(printable, others), 4, ', ')}): give another --out, or --overwrite to make them anew"
        )
    return done


def _here(files: Sequence[Input], models: Models, out: Path, progress: bool) -> Iterator[dict[str, Any]]:
    """Predicts files one after the other; yields their rows. The next video is surveyed meanwhile."""
    with (
        threads(1) as ahead,
        tqdm(total=len(files), unit="file", disable=not progress or len(files) < 2, dynamic_ncols=True) as bar,
    ):
        for file, surveyed in _surveyed(files, ahead.submit):
            yield predict_one(models, file, out, surveyed, progress=progress)
            bar.update()


def _surveyed(
    files: Iterable[Input], submit: Callable[..., Future[Survey]]
) -> Iterator[tuple[Input, Callable[[], Survey]]]:
    waiting: deque[tuple[Input, Callable[[], Survey]]] = deque()
    for file in files:
        waiting.append((file, _no_survey if file.still else submit(survey, file.path).result))
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting


def _no_survey() -> Survey:
    raise AssertionError("pictures are not surveyed")


def predict_one(
    models: Models, file: Input, out: Path, surveyed: Callable[[], Survey] | None = None, *, progress: bool = False
) -> dict[str, Any]:
    """Predicts a file; returns its row of the summary, which has the error if it failed.

    Raises:
        StorageError: the disk is full or read-only.
    """
    started = time.monotonic()
    try:
        surveyed = surveyed or functools.partial(survey, file.path)
        frames = models.predict(file, out / file.name, surveyed, progress=progress)
    except InputError as error:
        logging.warning("%s", error)
        return _row(file, FAILED) | {"error": str(error)}
    except Exception as error:
        full = storage_error(error)
        if full is not None:
            raise full from error
        # Nobody waits for what a single odd file among thousands may do to a library.
        logging.exception("%s", file.path)
        return _row(file, FAILED) | {"error": f"{file.path}: {type(error).__name__}: {error}"}
    return _row(file, DONE) | {"frames": frames, "seconds": round(time.monotonic() - started, 3)}


class _BeamWork:
    """Predicts files in a worker of Beam; returns their rows."""

    def __init__(self, options: Options, out: Path):
        self._models, self._out = Models(options), out

    def __call__(self, file: Input) -> dict[str, Any]:
        return predict_one(self._models, file, self._out)


def _on_beam(files: Sequence[Input], options: Options, out: Path, flags: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Predicts files on Apache Beam, each an element; yields their rows."""
    stage(f"predicting {len(files)} files on Apache Beam")
    # Workers run in other folders.
    absolute = [file._replace(path=Path(os.path.abspath(file.path))) for file in files]
    if options.checkpoint is not None and os.path.isdir(options.checkpoint):
        options = dataclasses.replace(options, checkpoint=os.path.abspath(options.checkpoint))
    work = functools.partial(_BeamWork, options, Path(os.path.abspath(out)))
    for file, result in zip(files, beam.run(work, absolute, flags, out), strict=True):
        if isinstance(result, beam.Lost):
            result = _row(file, FAILED) | {"error": f"{file.path}: {result.why}"}
        if result["status"] == FAILED:  # workers have logs of their own
            logging.warning("%s", result["error"])
        yield result | {"input": str(file.path)}


def _row(file: Input, status: str) -> dict[str, Any]:
    return {"input": str(file.path), "results": file.name, "status": status}


def _summary(files: Sequence[Input], rows: Sequence[dict[str, Any]], seconds: float) -> dict[str, Any]:
    order = {str(file.path): number for number, file in enumerate(files)}
    rows = sorted(rows, key=lambda row: order[row["input"]])
    counts = {status: sum(row["status"] == status for row in rows) for status in (DONE, SKIPPED, FAILED)}
    frames = sum(row.get("frames", 0) for row in rows)
    return {
        **counts,
        "left": len(files) - len(rows),
        "frames": frames,
        "seconds": round(seconds, 3),
        "frames_per_second": round(frames / seconds, 3) if seconds else 0.0,
        "files": rows,
    }
