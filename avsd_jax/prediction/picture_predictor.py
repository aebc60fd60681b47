"""Prediction of still pictures, each by itself, by a model that is loaded once."""

import contextlib
import functools
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jaxtyping import Float32
from tqdm import tqdm

from avsd_jax.common.by_name import name_of
from avsd_jax.common.wording import printable
from avsd_jax.errors import InputError
from avsd_jax.media.pictures import Picture, read_picture
from avsd_jax.prediction import picture_files, provenance
from avsd_jax.prediction.given_frames import check_image
from avsd_jax.prediction.loading import Loaded
from avsd_jax.prediction.map_writers import PICTURES_RECORD, Staging
from avsd_jax.prediction.result_files import threads
from avsd_jax.prediction.timeline import TimelineWriter
from avsd_jax.runs.components import make_forward

DEFAULT_MODEL = "gbvs"
# Pictures that are read before their turn, and those that are being drawn: each may be large.
_READ_AHEAD, _DRAWING = 2, 2


@dataclass(frozen=True)
class PicturesResult:
    """Result of a run.

    Attributes:
        files: that were written.
        num_pictures: that were predicted.
        failed: why others could not be read, by their names.
        notes: on the input.
    """

    files: tuple[Path, ...]
    num_pictures: int
    failed: dict[str, str]
    notes: tuple[str, ...]


class PicturePredictor:
    """A model that is loaded once and run on any number of pictures.

    Attributes:
        config: of the run or the model.
        spec: the pictures that it reads, as clips of one frame.

    Args:
        checkpoint: folder of a training run or of a converted or shared model, or `hf://owner/name[@revision]`; by
            default a model without weights is taken.
        model: the model without weights that is taken if no checkpoint is given, a module of `avsd_jax/models`.
        precision: of float32 products on a GPU or TPU, see `avsd_jax.models.common.network`; by default the run's.

    Raises:
        InputError: the folder holds no model, or a classifier alone; the model has weights, or there is none of that
            name; or it needs a video. On prediction: the model does not predict maps.
    """

    def __init__(self, checkpoint: str | Path | None = None, model: str = DEFAULT_MODEL, precision: str | None = None):
        loaded = Loaded.of(checkpoint, model, precision=precision)
        self.config, self.spec = loaded.config, loaded.parts.spec
        self._source, self._checkpoint = loaded.source, loaded.checkpoint
        still = loaded.parts.model.still()
        if still is None:
            raise InputError(f"{_why_not(loaded)}: give another model, or make a video of the pictures")
        self._model = still
        self._variables = jax.device_put(loaded.variables)
        self._forward = make_forward(still)

    def predict(self, image: Any) -> Float32[np.ndarray, "_ _"]:
        """Returns the map [h, w] in [0, 1] of a picture, at the model's size; `spec.preprocessing.smooth` enlarges it.

        Args:
            image: uint8 RGB [height, width, 3].

        Raises:
            InputError: no such array, or the model predicts no map, or values that are not finite.
        """
        check_image(image, "the picture")
        how, size = self.spec.preprocessing, self._model.fitted_size(image.shape[:2], self.spec.frame_size)
        shown = how.normalise(how.resize_frame(image, size))
        maps = np.asarray(self._forward(self._variables, {"video": shown[None, None]})["saliency"], np.float32)
        saliency = maps.reshape(maps.shape[-2:])
        if not np.isfinite(saliency).all():
            raise InputError(f"{self._source} gives values that are not finite: train it again")
        return saliency

    def run(
        self,
        source: str | Path,
        out: str | Path,
        *,
        maps: str = "png",
        overlay: bool = True,
        progress: bool = True,
    ) -> PicturesResult:
        """Predicts a picture, or all of a folder, and writes maps, overlays and a record; see `avsd_jax.predict`.

        A picture of a folder that cannot be read is reported, and the others are predicted. On an error nothing is left
        in `out`.

        Args:
            source: a picture, or a folder of them; those of folders within it are left out.
            out: folder to write to; created if missing.
            maps: "png", "npz" or "none".
            overlay: whether to write the pictures under their maps.
            progress: show a progress bar on stderr.

        Raises:
            InputError: there is no picture that can be read, `out` cannot be written to or holds another prediction, or
                the kind of maps is unknown.
            StorageError: the disk is full or read-only.
        """
        picture_files.check_options(maps, overlay)
        found = picture_files.found(source)
        if found is None:
            raise InputError(f"{source} is no picture: give a picture or a folder of them")
        picture_files.check_folder(Path(out), found.name)
        # Its record, which names them, is replaced before they are removed.
        earlier = tuple(picture_files.earlier(Path(out)))
        with Staging(Path(out), PICTURES_RECORD, lambda _: earlier) as staging:
            failed, notes = self._write(found, staging.folder, maps, overlay, progress)
            if len(failed) == len(found.paths):
                more = f" (the first of {len(failed)} pictures, of which none can be read)"
                raise InputError(next(iter(failed.values())) + more * (len(failed) > 1))
            files = staging.publish()
        return PicturesResult(files, len(found.paths) - len(failed), failed, notes)

    def made_by(self, *, maps: str, overlay: bool) -> str:
        """Returns a digest of the model and of the options that decide what is written of a picture."""
        return provenance.digest(self._model_digest, maps, overlay)

    @functools.cached_property
    def _model_digest(self) -> str:
        return provenance.of_model(self.config, self._variables)

    def _write(
        self, found: picture_files.Found, folder: Path, maps: str, overlay: bool, progress: bool
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """Writes all files into `folder`; returns why pictures failed, by their names, and notes."""
        for name in [*(["overlays"] if overlay else []), *(["maps"] if maps != "none" else [])]:
            (folder / name).mkdir()
        names = dict(zip(found.paths, picture_files.output_names(folder, found.paths), strict=True))
        failed: dict[str, str] = {}
        changed: Counter[str] = Counter()
        record = TimelineWriter(folder / PICTURES_RECORD, self._header(found, maps, overlay), rows="pictures")
        with (
            contextlib.closing(record),
            threads(_DRAWING) as drawing,
            tqdm(total=len(found.paths), unit="picture", disable=not progress, dynamic_ncols=True, leave=None) as bar,
        ):
            pending: deque[tuple[Path, Future[dict[str, Any]]]] = deque()

            def finish() -> None:
                path, written = pending.popleft()
                try:
                    row = written.result()
                except InputError as error:
                    row = {"error": str(error)}
                    failed[path.name] = row["error"]
                    if len(found.paths) > 1:  # otherwise it is the error of the run
                        logging.warning("%s", row["error"])
                changed.update(row.get("notes", ()))
                record.write({"picture": path.name} | row)
                bar.update()

            for path, reading in _read_ahead(found.paths):
                pending.append((path, self._begun(reading, drawing, folder, names[path], maps, overlay)))
                while len(pending) > _DRAWING:
                    finish()
            while pending:
                finish()
            notes = (*found.notes, *(f"{number} of the pictures: {note}" for note, number in changed.items()))
            for note in notes:
                logging.warning("%s: %s", printable(found.name), note)
            record.finish({"num_pictures": len(found.paths) - len(failed), "notes": list(notes)})
        return failed, notes

    def _begun(
        self, reading: Future[Picture], drawing: ThreadPoolExecutor, folder: Path, name: str, maps: str, overlay: bool
    ) -> Future[dict[str, Any]]:
        """Predicts a picture and begins to write its files; returns the fields of its record, or why there are none."""
        try:
            picture = reading.result()
        except InputError as error:
            failed: Future[dict[str, Any]] = Future()
            failed.set_exception(error)
            return failed
        saliency, how = self.predict(picture.image), self.spec.preprocessing
        return drawing.submit(picture_files.write, folder, name, picture, saliency, maps, how, overlaid=overlay)

    def _header(self, found: picture_files.Found, maps: str, overlay: bool) -> dict[str, Any]:
        # Of a folder, whose pictures come and go, there is no digest.
        alone = found.paths == (found.source,)
        made = {"input": provenance.of_file(found.source)} if alone else {}
        return {
            "source": found.name,
            "checkpoint": self._checkpoint,
            "model": self.config.model_name,
            "precision": self.config.precision,
            "maps": maps,
            "overlay": overlay,
            **made,
            "made_by": self.made_by(maps=maps, overlay=overlay),
        }


def _why_not(loaded: Loaded) -> str:
    """Returns why a model maps no single picture."""
    model, name = loaded.parts.model, name_of(loaded.parts.model)
    needs = [f"clips of {model.clip_size} frames"] * (model.clip_size > 1)
    needs += ["audio"] * (model.uses_audio or model.classifier_inputs is not None)
    return f"{loaded.source} maps no single picture, because {name} needs {' and '.join(needs) or 'a video'}"


def _read_ahead(paths: Sequence[Path]) -> Iterator[tuple[Path, Future[Picture]]]:
    """Yields pictures as they are read by a thread, a few ahead."""
    with threads(1) as reader:
        waiting: deque[tuple[Path, Future[Picture]]] = deque()
        for path in paths:
            waiting.append((path, reader.submit(read_picture, path)))
            if len(waiting) > _READ_AHEAD:
                yield waiting.popleft()
        yield from waiting
