"""Audio-visual consistency of a video file over time: a classifier's score on a grid, held between its points."""

import contextlib
import dataclasses
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax
from tqdm import tqdm

from avsd_jax.common import hub
from avsd_jax.config.fields import check_fields
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.consistency_grid import EVERY
from avsd_jax.errors import InputError
from avsd_jax.media.reading import Frame, VideoInfo, read_frames
from avsd_jax.media.survey import survey
from avsd_jax.prediction import timeline
from avsd_jax.prediction.batches import check_finite, in_batches, probability_of
from avsd_jax.prediction.clip_stream import Clip, ClipStream
from avsd_jax.prediction.decision import Decision
from avsd_jax.prediction.map_writers import CONSISTENCY_RECORD, CONSISTENCY_TABLE, Staging, holds
from avsd_jax.runs.checkpoint import load_for_inference
from avsd_jax.runs.classifier import Classifier
from avsd_jax.runs.components import make_forward

RECORD, TABLE, PLOT = CONSISTENCY_RECORD, CONSISTENCY_TABLE, "consistency.png"

_HEADER = "frame,time,probability,label\n"
_NO_AUDIO = "no audio track: there is nothing to compare, and every frame is labelled 0, inconsistent"


class Score(NamedTuple):
    """A point of the grid: frame from 0, probability of consistency, label 0 or 1; no probability without audio."""

    index: int
    probability: float | None
    label: int


@dataclasses.dataclass(frozen=True)
class ConsistencyResult:
    """Result of a run: the written files, the number of frames, how many are consistent, and notes on the input."""

    files: tuple[Path, ...]
    num_frames: int
    consistent: int
    notes: tuple[str, ...]


class ConsistencyScorer:
    """A classifier that is loaded once and run on any number of videos.

    Args:
        checkpoint: folder of a converted or shared classifier, of a run of model `avc`, or of a run gated by a
            classifier, or the address of one on a hub; by default the classifier without weights,
            `avsd_jax.models.classifiers.correlation`.
        batch_size: clips per batch.
        precision: of float32 products on a GPU or TPU, see `avsd_jax.models.common.network`; by default the run's.

    Raises:
        InputError: the folder holds no classifier.
    """

    def __init__(self, checkpoint: str | Path | None = None, batch_size: int = 4, precision: str | None = None):
        place = None if checkpoint is None else hub.pinned(checkpoint)
        if place is None:
            found = Classifier.without_weights()
        else:
            found = Classifier.from_run(place, *load_for_inference(place))
        if precision is not None:
            check_fields({"precision": precision}, ("precision",))
            found = dataclasses.replace(found, model=found.model.clone(precision=precision))
        self._classifier = found
        self._checkpoint = place
        self._batch_size = batch_size
        self._variables = jax.device_put(self._classifier.variables)
        self._forward = make_forward(self._classifier.model, maps=False)
        # The clip of a saliency model is not read: as small as can be.
        inputs = self._classifier.model.classifier_inputs
        self.spec = ClipSpec(clip_size=1, frame_size=(1, 1), avc=inputs, audio=False)

    def scores(self, clips: Iterable[Clip], decision: Decision) -> Iterator[Score]:
        """Classifies a stream of clips, in order.

        Raises:
            InputError: the weights are those of another classifier, or give values that are not finite.
        """
        label = None
        for indices, host in in_batches(self._forward, self._variables, clips, self._batch_size):
            for index, logits in zip(indices, host["avc_logits"], strict=False):
                check_finite(logits, self._checkpoint or "the classifier", index)
                probability = probability_of(logits / self._classifier.temperature)
                label = decision.label(probability, label)
                yield Score(index, probability, label)

    def run(
        self,
        video: str | Path,
        out: str | Path,
        *,
        every: float = EVERY,
        decision: Decision | None = None,
        progress: bool | Callable[[int, int | None], object] = True,
    ) -> ConsistencyResult:
        """Scores a video and writes table, record and plot; `avsd_jax.avc` describes them.

        Memory does not grow with the video's length. On an error nothing is left in `out`.

        Args:
            video: any file that FFmpeg reads, of any size, rate and length, with audio or without.
            out: folder to write to; created if missing.
            every: seconds between two scores.
            decision: from scores to labels; by default consistent above one half.
            progress: show a progress bar on stderr, or call this with the frames that are done and their number.

        Raises:
            InputError: the video cannot be read, `out` cannot be written to or holds another video's result, or
                `every` is not positive.
            StorageError: the disk is full or read-only.
        """
        if not every > 0:
            raise InputError(f"every={every}: give a positive number of seconds")
        decision = decision or Decision()
        check_folder(Path(out), Path(video).name)
        info, remarks = survey(video)
        times: deque[float] = deque()
        frames = _timed(read_frames(info.path), times)
        with (
            contextlib.closing(ClipStream(info, self.spec, None, every=every, frames=frames)) as clips,
            Staging(Path(out), RECORD, lambda out: ()) as staging,
        ):
            for remark in remarks:
                clips.note(remark)
            if info.audio is None:
                clips.note(_NO_AUDIO)
                scored = _unscored(frames, times)
            else:
                scored = held(self.scores(clips, decision), times)
            files = _Files(staging.folder, self._header(info, every, decision))
            with contextlib.closing(files), _bar(info, progress is True) as bar:
                for index, time, score in scored:
                    files.write(index, time, score)
                    bar.update()
                    if callable(progress):
                        progress(files.count, info.num_frames)
                bar.total = files.count
                bar.refresh()
                clips.note_skipped(files.count)
                files.finish(clips.notes, self._caption(info, decision), info)
            paths = staging.publish()
        return ConsistencyResult(paths, files.count, files.consistent, tuple(clips.notes))

    def _header(self, info: VideoInfo, every: float, decision: Decision) -> dict[str, Any]:
        settings = {
            "video": info.path.name,
            "checkpoint": self._checkpoint,
            "classifier": self._classifier.model.classifier,
            "fps": info.fps,
            "audio": info.audio is not None,
            "precision": self._classifier.model.precision,
            "temperature": self._classifier.temperature,
            "every": every,
        }
        return settings | decision.record

    def _caption(self, info: VideoInfo, decision: Decision) -> str:
        """Returns the line below the title of the curve."""
        if info.audio is None:
            return "The file has no audio track: nothing to classify."
        return (
            f"Probability that the audio belongs to what is visible, by {self._classifier.model.classifier}. "
            f"Green: {decision}, consistent."
        )


def check_folder(out: Path, video: str) -> None:
    """Checks that `out` holds no consistency of another video.

    Args:
        out: the output folder; need not exist.
        video: name of the video's file.

    Raises:
        InputError: it holds that of another video, or of an unknown one.
    """
    if not holds(out, RECORD, video, "consistency") and os.path.exists(out / TABLE):
        raise InputError(f"{out / TABLE} is of an unknown video: give another --out, or remove that file")


def held(scores: Iterator[Score], times: deque[float]) -> Iterator[tuple[int, float, Score]]:
    """Yields for every frame its number from 0, its time, and the score at or before it.

    Args:
        scores: in order, the first one of frame 0.
        times: of the frames that were decoded and not yielded yet; reading a score decodes the frames up to it, and
            reading past the last one all frames.
    """
    current, index = next(scores), 0
    for following in scores:
        while index < following.index:
            yield index, times.popleft(), current
            index += 1
        current = following
    while times:
        yield index, times.popleft(), current
        index += 1


def _unscored(frames: Iterator[Frame], times: deque[float]) -> Iterator[tuple[int, float, Score]]:
    """Yields the same for a file without audio."""
    for frame in frames:
        yield frame.index, times.popleft(), Score(0, None, 0)


def _timed(frames: Iterator[Frame], times: deque[float]) -> Iterator[Frame]:
    """Yields frames, and appends their times."""
    for frame in frames:
        times.append(frame.time)
        yield frame


def _bar(info: VideoInfo, progress: bool) -> tqdm:
    return tqdm(total=info.num_frames, unit="frame", disable=not progress, dynamic_ncols=True)


class _Files:
    """The output files in the making.

    Attributes:
        count: frames written.
        consistent: those among them that are labelled 1.
    """

    def __init__(self, folder: Path, header: dict[str, Any]):
        self._folder = folder
        self._title = f"Audio-visual consistency: {header['video']}"
        self._record = timeline.TimelineWriter(folder / RECORD, header, rows="scores")
        self._table: IO[str] = (folder / TABLE).open("w", encoding="utf-8", newline="\n")
        self._table.write(_HEADER)
        self._curve = timeline.Curve()
        self._time = 0.0
        self.count = self.consistent = 0

    def write(self, index: int, time: float, score: Score) -> None:
        """Appends a frame; its score is recorded if it is the frame's own."""
        probability = score.probability
        # NaN stays a number to whatever reads the table.
        shown = "nan" if probability is None else f"{probability:.6f}"
        self._table.write(f"{index + 1},{time:.6f},{shown},{score.label}\n")
        if probability is not None:
            self._curve.append(time, probability, bool(score.label))
            if index == score.index:
                row = {"frame": index + 1, "time": round(time, 6), "probability": round(probability, 6)}
                self._record.write(row | {"label": score.label})
        self._time = time
        self.count += 1
        self.consistent += score.label

    def finish(self, notes: list[str], caption: str, info: VideoInfo) -> None:
        """Completes all files."""
        self._table.close()
        self._record.finish({"num_frames": self.count, "num_consistent": self.consistent, "notes": notes})
        timeline.draw(self._folder / PLOT, self._curve, self._title, caption, self._time + 1 / info.fps)

    def close(self) -> None:
        """Closes the files without completing them."""
        self._table.close()
        self._record.close()
