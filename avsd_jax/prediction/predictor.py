"""Prediction of any number of videos by a model that is loaded once."""

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from avsd_jax import models
from avsd_jax.common.by_name import available
from avsd_jax.config.base import base
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.errors import InputError
from avsd_jax.media import overlay
from avsd_jax.media.reading import VideoInfo, read_frames
from avsd_jax.media.survey import survey
from avsd_jax.media.writing import VideoWriter
from avsd_jax.models import avc
from avsd_jax.prediction import timeline
from avsd_jax.prediction.batches import check_finite, in_batches, in_order, probability_of
from avsd_jax.prediction.clip_stream import Clip, ClipStream
from avsd_jax.prediction.decision import Decision
from avsd_jax.prediction.grid_gate import PROBABILITY, GridGate
from avsd_jax.prediction.map_writers import MAP_WRITERS, Staging, check_folder, overlay_name
from avsd_jax.runs.checkpoint import NO_VARIABLES, load_for_inference
from avsd_jax.runs.classifier import Classifier
from avsd_jax.runs.components import Inference, make_forward
from avsd_jax.runs.sequence import SequenceForward

DEFAULT_MODEL = "gbvs_av"
_LEAST_SIDE = 32
_GATED = ("classifier", "labels")


class Prediction(NamedTuple):
    """The model's prediction for a frame.

    Attributes:
        index: the frame.
        saliency: [H, W] in [0, 1] at the model's size.
        probability: of audio-visual consistency; None without a classifier.
        opened: whether the fused stream was used.
        predicted: False if it is interpolated between two predictions.
    """

    index: int
    saliency: np.ndarray
    probability: float | None
    opened: bool
    predicted: bool = True


@dataclasses.dataclass(frozen=True)
class Result:
    """Result of a run: the written files, the number of frames, and notes on the input."""

    files: tuple[Path, ...]
    num_frames: int
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Settings:
    """How a video is predicted; see `Predictor.run`."""

    maps: str
    stride: int
    every: float
    decision: Decision


class Predictor:
    """A model that is loaded once and run on any number of videos.

    Args:
        checkpoint: folder of a training run or of a converted model; by default a model without weights is taken.
        batch_size: clips per batch; a model that maps every frame of a clip gets one clip at a time.
        model: the model without weights that is taken if no checkpoint is given, a module of `avsd_jax/models`.
        precision: of float32 products on a GPU or TPU, see `avsd_jax.models.common.network`; by default the run's.

    Raises:
        InputError: the folder holds no model, or a classifier alone; the model has weights, or there is none of that
            name; on prediction: the model does not predict maps.
    """

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        batch_size: int = 4,
        model: str = DEFAULT_MODEL,
        precision: str | None = None,
    ):
        self.config, variables = without_weights(model) if checkpoint is None else load_for_inference(checkpoint)
        if precision is not None:
            self.config.precision = precision
        self._checkpoint = None if checkpoint is None else Path(checkpoint)
        self._source = f"model {model}" if checkpoint is None else str(checkpoint)
        self._batch_size = batch_size
        parts = Inference.from_config(self.config)
        self.spec, model = parts.spec, parts.model
        if isinstance(model, avc.Model):
            raise InputError(
                f"{self._source} is a classifier of consistency, which predicts no map: run it by python -m "
                "avsd_jax.avc, or give a model that it gates"
            )
        self._any_size = model.any_size
        self._gate, self._soft = model.gate, model.gate_mix == "soft"
        classifier = Classifier.of(model, variables)
        self._grid_gate = None if classifier is None else GridGate(classifier, self._source)
        self._variables = jax.device_put(variables)
        self._forward = make_forward(model)
        # Without audio the gate is closed.
        mute = model.clone(gate="never") if self._gate in _GATED else model
        self._forward_without_audio = self._forward if mute is model else make_forward(mute)

    def clips(self, info: VideoInfo, stride: int = 1, every: float | None = None) -> ClipStream:
        """Opens the stream of a video's clips.

        Args:
            info: the file.
            stride: distance between the predicted frames.
            every: seconds between two scores of the gate's classifier; by default as the run's record says.
        """
        every = self.config.avc_every if every is None else every
        spec = self._spec_of(info)
        if self._grid_gate is None:
            return ClipStream(info, spec, stride)
        if info.audio is None:
            return ClipStream(info, dataclasses.replace(spec, avc=None), stride)
        return ClipStream(info, spec, stride, every=every)

    def _spec_of(self, info: VideoInfo) -> ClipSpec:
        """Returns the clips of a video: frames of its own aspect ratio if the model takes them of any size."""
        if not self._any_size:
            return self.spec
        return dataclasses.replace(self.spec, frame_size=fitted((info.height, info.width), max(self.spec.frame_size)))

    def predictions(
        self, info: VideoInfo, clips: Iterable[Clip], decision: Decision | None = None
    ) -> Iterator[Prediction]:
        """Predicts the frames of a stream of clips, in order.

        Args:
            info: the file.
            clips: of it, as `clips` returns them.
            decision: from scores of consistency to an open or closed gate; by default open above one half.

        Raises:
            InputError: the model predicts no map, or gives values that are not finite.
        """
        forward = self._forward if info.audio else self._forward_without_audio
        if info.audio and self._grid_gate is not None:
            forward, clips = self._grid_gate.run(forward, clips, decision or Decision(), self._soft)
        if self.spec.num_maps:
            batches = in_order(SequenceForward(forward, self._variables, self.spec.carries), clips)
        else:
            batches = in_batches(forward, self._variables, clips, self._batch_size)
        for indices, outputs in batches:
            yield from self._unpack(indices, outputs)

    def _unpack(self, indices: list[int], host: dict[str, np.ndarray]) -> Iterator[Prediction]:
        for row, index in enumerate(indices):
            saliency = host["saliency"][row].astype(np.float32)
            check_finite(saliency, self._source, index)
            probability = None
            if PROBABILITY in host:
                probability = float(host[PROBABILITY][row])
            elif "avc_logits" in host:
                probability = probability_of(host["avc_logits"][row])
            yield Prediction(index, saliency, probability, bool(host["gate"][row]) if "gate" in host else False)

    def run(
        self,
        video: str | Path,
        out: str | Path,
        *,
        maps: str = "png",
        stride: int = 1,
        every: float | None = None,
        decision: Decision | None = None,
        progress: bool = True,
    ) -> Result:
        """Predicts a video and writes overlay, maps and timeline; `avsd_jax.predict` describes them.

        Memory does not grow with the video's length. On an error nothing is left in `out`.

        Args:
            video: any file that FFmpeg reads, of any size, rate and length, with audio or without.
            out: folder to write to; created if missing.
            maps: "png", "npz", "stavis" or "none".
            stride: distance between the predicted frames.
            every: seconds between two scores of the gate's classifier, 0 for one per frame; by default as the run's
                record says (`avc_every`).
            decision: from these scores to an open or closed gate; by default open above one half.
            progress: show a progress bar on stderr.

        Raises:
            InputError: the video cannot be read, `out` cannot be written to or holds the prediction of another video,
                or an option is unknown.
            StorageError: the disk is full or read-only.
        """
        if maps not in MAP_WRITERS:
            raise InputError(f"unknown kind of maps {maps!r}: choose one of {', '.join(MAP_WRITERS)}")
        if stride < 1:
            raise InputError(f"stride={stride}: give a whole number from 1 on")
        self._check_gate(every, decision)
        settings = _Settings(maps, stride, self.config.avc_every if every is None else every, decision or Decision())
        check_folder(Path(out), Path(video).name)
        info, remarks = survey(video)
        with contextlib.closing(self.clips(info, stride, every)) as clips, Staging(Path(out)) as staging:
            for remark in remarks:
                clips.note(remark)
            self._remark(info, clips, stride)
            count = self._write(info, clips, staging.folder, settings, progress)
            files = staging.publish()
        return Result(files, count, tuple(clips.notes))

    def _check_gate(self, every: float | None, decision: Decision | None) -> None:
        """Raises InputError if options of the gate are wrong, or have no effect on this model."""
        if every is not None and not 0 <= every < math.inf:
            raise InputError(f"every={every}: give a number of seconds from 0 on")
        if self._grid_gate is None and (every is not None or decision is not None):
            if self._gate == "classifier":
                raise InputError(
                    f"{self._source} decides by itself, anew for every frame and above one half: leave out the time "
                    "grid and the threshold"
                )
            raise InputError(
                f"{self._source} has no gate by a trained classifier: leave out its time grid (--every) and its "
                "threshold (--threshold, --hysteresis)"
            )
        if self._soft and decision is not None:
            raise InputError(
                f"{self._source} has a soft gate, which weighs the streams by the probability: leave out the threshold"
            )

    def _remark(self, info: VideoInfo, clips: ClipStream, stride: int) -> None:
        """Notes the properties of input and options that affect the result unexpectedly."""
        if info.audio is None and self._gate in _GATED:
            clips.note("no audio track: the gate is closed and the visual stream alone predicts")
        elif info.audio is None and self._gate == "always":
            clips.note("no audio track: the model, which has no gate, gets silence")
        elif self._gate == "labels":
            clips.note("the gate follows labels, which a video file does not have: the visual stream alone predicts")
        if stride > 1:
            clips.note(f"one frame in {stride} is predicted; the maps between are interpolated")

    def _write(self, info: VideoInfo, clips: ClipStream, folder: Path, how: _Settings, progress: bool) -> int:
        """Writes all files into `folder`; returns the number of frames."""
        preprocessing = self.spec.preprocessing
        curve = timeline.Curve()
        map_writer = MAP_WRITERS[how.maps](folder / "maps")
        overlay_path = folder / overlay_name(folder, info.path.stem)
        record_path = folder / "timeline.json"
        count = 0
        with (
            contextlib.closing(timeline.TimelineWriter(record_path, self._header(info, how))) as record,
            VideoWriter(overlay_path, info, info.width, info.height) as overlay_video,
            tqdm(total=info.num_frames, unit="frame", disable=not progress, dynamic_ncols=True) as bar,
        ):
            bar.set_description("compiling the model")
            everywhere = at_every_frame(self.predictions(info, clips, how.decision), how.stride)
            for frame, prediction in zip(read_frames(info.path), everywhere, strict=False):
                if count == 0:  # the remaining time is estimated from the start of the model
                    bar.set_description(None)
                    bar.reset()
                size = frame.image.shape[:2]
                grey = preprocessing.to_image(preprocessing.smooth(prediction.saliency, size))
                own = preprocessing.frame_part(prediction.saliency, size)
                map_writer.write(frame.index, frame.time, own, grey)
                overlaid = overlay.heat(frame.image, grey)
                overlay_video.write(overlay.gate_label(overlaid, *self._label(info, prediction)), frame.time)
                record.write(_row(frame.time, prediction))
                if prediction.probability is not None:
                    curve.append(frame.time, prediction.probability, prediction.opened)
                count += 1
                bar.update()
            bar.total = count
            bar.refresh()
            map_writer.close()
            if count < self.spec.clip_size:
                repeated = "last" if self.spec.num_maps else "first"
                clips.note(f"{count} frames are fewer than a clip of {self.spec.clip_size}: the {repeated} is repeated")
            clips.note_skipped(count)
            record.finish({"num_frames": count, "notes": clips.notes})
        timeline.draw(
            folder / "timeline.png",
            curve,
            f"Audio-visual consistency: {info.path.name}",
            self._caption(info, how.decision),
            frame.time + 1 / info.fps,
        )
        return count

    def _header(self, info: VideoInfo, how: _Settings) -> dict[str, Any]:
        header = {
            "video": info.path.name,
            "checkpoint": None if self._checkpoint is None else str(self._checkpoint),
            "model": self.config.model_name,
            "gate": self._gate,
            "precision": self.config.precision,
            "clip_size": self.spec.clip_size,
            "fps": info.fps,
            "width": info.width,
            "height": info.height,
            "sound": info.audio is not None,
            "stride": how.stride,
        }
        return header | ({} if self._grid_gate is None else {"every": how.every}) | how.decision.record

    def _label(self, info: VideoInfo, prediction: Prediction) -> tuple[str, bool, float | None]:
        """Returns the label in the corner of a frame."""
        used = "audio used" if prediction.opened else "audio ignored"
        if prediction.probability is not None:
            return f"AVC {prediction.probability:.2f}  {used}", prediction.opened, prediction.probability
        if info.audio is None and self._gate != "never":
            return "no audio track", False, None
        return ("visual only" if self._gate == "never" else used), prediction.opened, None

    def _caption(self, info: VideoInfo, decision: Decision) -> str:
        """Returns the line below the title of the curve."""
        if info.audio is None:
            return "The file has no audio track: nothing to classify."
        if self._gate != "classifier":
            return "This model has no classifier of audio-visual consistency."
        judge = self.config.model.get("classifier", self.config.model_name)
        return (
            f"Probability that the audio belongs to what is visible, by {judge}. Green: {decision}, the audio is used."
        )


def without_weights(name: str) -> tuple[ConfigDict, dict[str, Any]]:
    """Returns the configuration and the empty variables of a model without weights.

    Raises:
        InputError: there is no model of that name, or it has weights.
    """
    if not models.is_learned(name):
        return base(name), dict(NO_VARIABLES)
    raise InputError(
        f"the model {name} has weights: give --checkpoint=DIR, a training run or a converted model, or choose one "
        f"without ({', '.join(name for name in available(models.__name__) if not models.is_learned(name))})"
    )


def fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Returns (height, width) of a video's frames scaled down to a longest side, no side below `_LEAST_SIDE` pixels."""
    scale = min(1.0, longest / max(size))
    return max(_LEAST_SIDE, round(size[0] * scale)), max(_LEAST_SIDE, round(size[1] * scale))


def at_every_frame(predictions: Iterator[Prediction], stride: int) -> Iterator[Prediction]:
    """Yields a prediction for every frame from one for every `stride`-th, endlessly.

    Maps are interpolated linearly; probability and gate are those of the earlier prediction. The last prediction is
    repeated.
    """
    current = next(predictions)
    following = next(predictions, None)
    for index in itertools.count():
        if following is not None and index == following.index:
            current, following = following, next(predictions, None)
        if index == current.index:
            yield current
            continue
        share = 0.0 if following is None else (index - current.index) / stride
        target = current if following is None else following
        saliency = np.float32(1 - share) * current.saliency + np.float32(share) * target.saliency
        yield Prediction(index, saliency, current.probability, current.opened, predicted=False)


def _row(time: float, prediction: Prediction) -> dict[str, Any]:
    """Returns a frame's row of the record."""
    probability = prediction.probability
    return {
        "frame": prediction.index,
        "time": round(time, 6),
        "avc_probability": None if probability is None else round(probability, 6),
        "gate": int(prediction.opened),
        "predicted": prediction.predicted,
    }
