"""Prediction of any number of videos by a model that is loaded once."""

import contextlib
import dataclasses
import functools
import math
import numbers
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from jaxtyping import UInt8
from tqdm import tqdm

from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.errors import InputError
from avsd_jax.media.reading import AudioWindow, Frame, VideoInfo, count_frames, read_frames
from avsd_jax.media.survey import Survey, survey
from avsd_jax.prediction import provenance
from avsd_jax.prediction.batches import check_finite, in_batches, in_order, probability_of
from avsd_jax.prediction.clip_stream import Clip, ClipStream
from avsd_jax.prediction.decision import Decision
from avsd_jax.prediction.every_frame import PassedFrames, Prediction, at_every_frame
from avsd_jax.prediction.frame_choice import ALL, Chosen, FrameChoice
from avsd_jax.prediction.given_frames import GivenAudio, described
from avsd_jax.prediction.grid_gate import PROBABILITY, Forward, GridGate
from avsd_jax.prediction.loading import Loaded
from avsd_jax.prediction.map_writers import MAP_WRITERS, Staging, check_folder, earlier_files
from avsd_jax.prediction.result_files import ResultFiles
from avsd_jax.prediction.series import SeriesStreams, with_series
from avsd_jax.prediction.traits import GATED, Settings, Traits
from avsd_jax.runs.classifier import Classifier
from avsd_jax.runs.components import make_forward
from avsd_jax.runs.origin import imported_from
from avsd_jax.runs.sequence import SequenceForward

DEFAULT_MODEL = "gbvs_av"


@dataclasses.dataclass(frozen=True)
class Result:
    """Result of a run: the written files, the number of frames, and notes on the input."""

    files: tuple[Path, ...]
    num_frames: int
    notes: tuple[str, ...]


class _Network(NamedTuple):
    """A network, its compiled prediction, and its streams."""

    model: nn.Module
    forward: Forward
    streams: SeriesStreams

    @classmethod
    def of(cls, model: nn.Module, variables: Any) -> "_Network":
        return cls(model, make_forward(model), SeriesStreams(model, variables))


class Predictor:
    """A model that is loaded once and run on any number of videos.

    Attributes:
        config: of the run or the model.
        spec: the clips that it reads.
        traits: what decides about its options.

    Args:
        checkpoint: folder of a training run or of a converted or shared model, or `hf://owner/name[@revision]`; by
            default a model without weights is taken.
        batch_size: clips per batch; a model that maps every frame of a clip gets one clip at a time.
        model: the model without weights that is taken if no checkpoint is given, a module of `avsd_jax/models`.
        precision: of float32 products on a GPU or TPU, see `avsd_jax.models.common.network`; by default the run's.
        frame_step: of a model of sequences: every so many frames are a sequence, see docs/video_models.md; by default
            the run's.

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
        frame_step: int | float | None = None,
    ):
        if frame_step is not None and not isinstance(frame_step, numbers.Integral):
            raise InputError(f"frame_step={frame_step}: give a whole number from 1 on")
        loaded = Loaded.of(checkpoint, model, precision=precision, frame_step=frame_step)
        if frame_step is not None and not loaded.parts.spec.num_maps:
            raise InputError(
                f"frame_step={frame_step}: {loaded.source} maps no sequences of frames: leave its frames as they are"
            )
        self.config, variables = loaded.config, loaded.variables
        self._checkpoint = loaded.checkpoint
        self._source = loaded.source
        self._batch_size = batch_size
        self.spec, model = loaded.parts.spec, loaded.parts.model
        classifier = Classifier.of(model, variables)
        self.traits = Traits(
            source=self._source,
            model_name=self.config.model_name,
            gate=model.gate,
            soft=model.gate_mix == "soft",
            classifier=self.config.model.get("classifier", self.config.model_name),
            on_grid=classifier is not None,
            every=self.config.avc_every,
            sequence=bool(self.spec.num_maps),
        )
        self._grid_gate = None if classifier is None else GridGate(classifier, self._source)
        self._variables = jax.device_put(variables)
        self._network = _Network.of(model, self._variables)
        # Without audio the gate is closed.
        mute = model.clone(gate="never") if model.gate in GATED else model
        self._without_audio = self._network if mute is model else _Network.of(mute, self._variables)
        # What a state tells of the frames before, live frames do not wait for.
        spec, self._frame_by_frame = self.spec, None
        if spec.carries and spec.num_maps == spec.clip_size and not (spec.audio or spec.avc):
            self._frame_by_frame = _Network.of(model.clone(clip_size=1), self._variables)

    def clips(
        self, info: VideoInfo, stride: int = 1, every: float | None = None, *, alone: bool = False, **given: Any
    ) -> ClipStream:
        """Opens the stream of a video's clips.

        Args:
            info: the file.
            stride: distance between the predicted frames.
            every: seconds between two scores of the gate's classifier; by default as the run's record says.
            alone: whether each clip is a frame alone, for a model to which its state says the rest.
            given: other arguments of `ClipStream`.
        """
        every = self.config.avc_every if every is None else every
        spec = self._spec_of(info)
        spec = dataclasses.replace(spec, clip_size=1, num_maps=1) if alone else spec
        if self._grid_gate is None:
            return ClipStream(info, spec, stride, **given)
        if info.audio is None:
            return ClipStream(info, dataclasses.replace(spec, avc=None), stride, **given)
        return ClipStream(info, spec, stride, every=every, **given)

    def _spec_of(self, info: VideoInfo) -> ClipSpec:
        """Returns the clips of a video: frames of its own aspect ratio if the model takes them of any size."""
        size = self._network.model.fitted_size((info.height, info.width), self.spec.frame_size)
        return dataclasses.replace(self.spec, frame_size=size)

    def predictions(
        self, info: VideoInfo, clips: Iterable[Clip], decision: Decision | None = None
    ) -> Iterator[Prediction]:
        """Predicts the frames of a stream of clips, in order, each clip on its own.

        Args:
            info: the file.
            clips: of it, as `clips` returns them.
            decision: from scores of consistency to an open or closed gate; by default open above one half.

        Raises:
            InputError: the model predicts no map, or gives values that are not finite.
        """
        forward = self._of(info).forward
        return self._predicted(info, clips, forward, decision or Decision(), self._batch_size, overlap=True)

    def _of(self, info: VideoInfo) -> _Network:
        return self._network if info.audio else self._without_audio

    def _predicted(
        self,
        info: VideoInfo,
        clips: Iterable[Clip],
        forward: Forward,
        decision: Decision,
        batch_size: int,
        overlap: bool,
        alone: int | None = None,
    ) -> Iterator[Prediction]:
        if self.spec.num_maps:
            sequence = SequenceForward(forward, self._variables, self.spec.carries)
            forward = lambda _, batch, first: sequence(batch, first)  # noqa: E731
        if info.audio and self._grid_gate is not None:
            forward, clips = self._grid_gate.run(forward, clips, decision, self.traits.soft, self.spec)
        if self.spec.num_maps:
            batches = in_order(functools.partial(forward, self._variables), clips, self.spec.phases, overlap=overlap)
        else:
            batches = in_batches(forward, self._variables, clips, batch_size, overlap=overlap, alone=alone)
        for indices, outputs in batches:
            yield from self._unpack(indices, outputs)

    @contextlib.contextmanager
    def opened(
        self,
        info: VideoInfo,
        frames: Iterator[Frame],
        how: Settings,
        *,
        in_series: bool = True,
        live: bool = False,
        audio: Callable[[int], AudioWindow] | None = None,
        chosen: Chosen = ALL,
    ) -> Iterator[tuple[ClipStream, Iterator[tuple[Frame, Prediction]]]]:
        """Opens a video; gives its clips, and every chosen frame with its prediction.

        Args:
            info: the video.
            frames: of it.
            how: it is predicted.
            in_series: whether what clips share is computed once, where that can be.
            live: whether each prediction is made at once, and none waits for a batch.
            audio: opens the audio at a rate, if not that of the file.
            chosen: the frames whose predictions are asked for.
        """
        # One frame of each phase at a time: no more frames wait for their maps.
        alone = self._frame_by_frame is not None and (live or self.spec.phases > 1)
        network = self._frame_by_frame if alone else self._of(info)
        # Between two predictions lie `stride` frames, which wait: the longer, the fewer are predicted at once.
        batch_size = 1 if live else max(min(1, self._batch_size), self._batch_size // how.stride)
        mapped = chosen.predicted(how.stride)
        advance, apart = divmod(mapped.step, self.spec.frame_step)
        follows = in_series and not apart and advance < self.spec.clip_size and not self.spec.num_maps
        lent = network.streams.lent(advance, batch_size) if follows else contextlib.nullcontext()
        passed = PassedFrames(frames, chosen)
        with lent as stream:
            steps = None if stream is None else advance
            given = {"frames": passed, "advance": steps, "audio": audio, "first": mapped.start, "stop": mapped.stop}
            opened = self.clips(info, mapped.step, how.every, alone=alone, **given)
            with contextlib.closing(opened) as clips:
                forward = with_series(network.forward, stream, network.model)
                # Few clips of a model that streams are computed alone. On a CPU a batch of them takes as long as one
                # after the other, and the first map would wait for it.
                few = 1 if stream is not None and jax.default_backend() == "cpu" else None
                predicted = self._predicted(info, clips, forward, how.decision, batch_size, not live, few)
                yield clips, passed.paired(at_every_frame(predicted, how.stride, chosen))

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
        mode: str = "exact",
        stride: int | None = None,
        every: float | None = None,
        decision: Decision | None = None,
        frames: str | slice | None = None,
        overlay: bool = True,
        progress: bool | Callable[[int, int | None], object] = True,
        surveyed: Survey | None = None,
    ) -> Result:
        """Predicts a video and writes overlay, maps and timeline; `avsd_jax.predict` describes them.

        Memory does not grow with the video's length. On an error nothing is left in `out`.

        Args:
            video: any file that FFmpeg reads, of any size, rate and length, with audio or without.
            out: folder to write to; created if missing.
            maps: "png", "npz", "stavis", "mp4" or "none".
            mode: "exact", or "fast", an approximation; see docs/prediction.md.
            stride: distance between the predicted frames; by default 1, in mode "fast" `FAST_STRIDE`.
            every: seconds between two scores of the gate's classifier, 0 for one per frame; by default as the run's
                record says (`avc_every`).
            decision: from these scores to an open or closed gate; by default open above one half.
            frames: those to predict, a slice or its text `start:end:step`; their maps are those of the whole video.
            overlay: whether to write the video under its maps.
            progress: show a progress bar on stderr, or call this with the frames that are done and their number.
            surveyed: the result of `avsd_jax.media.survey.survey`, if the caller has it.

        Raises:
            InputError: the video cannot be read, `out` cannot be written to or holds the prediction of another video,
                or an option is unknown, or no frame is chosen.
            StorageError: the disk is full or read-only.
        """
        if maps not in MAP_WRITERS:
            raise InputError(f"unknown kind of maps {maps!r}: choose one of {', '.join(MAP_WRITERS)}")
        choice = FrameChoice.of(frames)
        how = self.traits.settings(mode, stride, every, decision)
        check_folder(Path(out), Path(video).name)
        info, remarks = survey(video) if surveyed is None else surveyed
        chosen = _chosen(choice, info)
        made = {
            "input": provenance.of_file(info.path),
            "made_by": self.made_by(maps=maps, how=how, frames=choice, overlay=overlay),
        }
        asked = {"maps": maps, "overlay": overlay} | ({} if choice is None else {"chosen": choice.text})
        with (
            self.opened(info, read_frames(info.path), how, chosen=chosen) as (clips, predicted),
            Staging(Path(out), earlier=functools.partial(earlier_files, stem=info.path.stem)) as staging,
        ):
            for remark in (*remarks, *self.traits.remarks(info, how)):
                clips.note(remark)
            header = self._header(info, how) | asked | made
            written = ResultFiles(
                staging.folder,
                info,
                maps,
                self.spec.preprocessing,
                header,
                functools.partial(self.traits.label, info),
                overlay=overlay,
                chosen=chosen,
            )
            count = self._write(info, clips, predicted, written, how, progress)
            if not count:
                length = count_frames(info.path).decoded
                raise InputError(f"{video} has {length} frames: --frames={choice.text} chooses none of them")
            files = staging.publish()
        return Result(files, count, tuple(clips.notes))

    def made_by(self, *, maps: str, how: Settings, frames: FrameChoice | None, overlay: bool) -> str:
        """Returns a digest of the model and of the options that decide what is written of a video."""
        options = [maps, how.mode, how.stride, how.every, how.decision.record, overlay]
        return provenance.digest(self._model_digest, *options, None if frames is None else frames.text)

    @functools.cached_property
    def _model_digest(self) -> str:
        return provenance.of_model(self.config, self._variables)

    def stream(
        self,
        frames: Iterable[UInt8[np.ndarray, "_ _ 3"] | Frame],
        fps: float | int = 25.0,
        audio: tuple[Any, int] | None = None,
        *,
        mode: str = "exact",
        stride: int | None = None,
        every: float | None = None,
        decision: Decision | None = None,
    ) -> Iterator[Prediction]:
        """Predicts frames as they come, in order, each as soon as the frames are there that its clip needs.

        The numbers are those of `run` for a file of these frames; where audio is spread over all frames of a video
        (preprocessing "stanet_cvpr"), only if `frames` has a length. Where no rule needs to know how long the video is,
        no frame is read ahead. Only what the next clips may need is kept.

        Args:
            frames: RGB images, or frames with their own times, which increase from 0.
            fps: frames per second; of frames with times their mean rate.
            audio: a waveform [s] in [-1, 1] that begins with the first frame, or an iterator over consecutive pieces of
                it, and its samples per second. None: there is none.
            mode, stride, every, decision: as in `run`.

        Yields:
            One prediction per frame.

        Raises:
            InputError: an option is unknown, a frame or the audio has a wrong type or shape, the model predicts no map,
                or gives values that are not finite.
        """
        how = self.traits.settings(mode, stride, every, decision)
        if not 0 < fps < math.inf:
            raise InputError(f"fps={fps}: give a positive number of frames per second")
        return self._streamed(frames, float(fps), None if audio is None else GivenAudio(*audio), how)

    def _streamed(
        self, frames: Iterable[Any], fps: float, audio: GivenAudio | None, how: Settings
    ) -> Iterator[Prediction]:
        found = described(frames, fps, audio)
        if found is None:
            return
        info, source = found
        window = None if audio is None else audio.window
        with self.opened(info, source, how, live=True, audio=window) as (clips, predicted):
            for remark in self.traits.remarks(info, how):
                clips.note(remark)
            for _, prediction in predicted:
                yield prediction

    def _write(
        self,
        info: VideoInfo,
        clips: ClipStream,
        predicted: Iterator[tuple[Frame, Prediction]],
        written: ResultFiles,
        how: Settings,
        progress: bool | Callable[[int, int | None], object],
    ) -> int:
        """Writes all files; returns the number of predicted frames."""
        with (
            written as files,
            # Below another bar it goes when it is full.
            tqdm(
                total=info.num_frames, unit="frame", disable=progress is not True, dynamic_ncols=True, leave=None
            ) as bar,
        ):
            bar.set_description("compiling the model")
            count = 0
            for _ in files.write(predicted):
                if count == 0:  # the remaining time is estimated from the start of the model
                    bar.set_description(None)
                    bar.reset()
                count += 1
                bar.update()
                if callable(progress):
                    progress(count, info.num_frames)
            bar.total = count
            bar.refresh()
            if clips.num_frames is not None:  # it was read to its end
                self._note_length(clips, clips.num_frames)
            files.finish(clips.notes, count)
        files.plot(self.traits.caption(info, how.decision))
        return count

    def _note_length(self, clips: ClipStream, count: int) -> None:
        if count < self.spec.clip_size:
            repeated = "last" if self.spec.num_maps else "first"
            clips.note(f"{count} frames are fewer than a clip of {self.spec.clip_size}: the {repeated} is repeated")
        clips.note_skipped(count)

    def _header(self, info: VideoInfo, how: Settings) -> dict[str, Any]:
        origin = imported_from(self.config)
        header = {
            "video": info.path.name,
            "checkpoint": self._checkpoint,
            "model": self.config.model_name,
            "gate": self.traits.gate,
            "precision": self.config.precision,
            "clip_size": self.spec.clip_size,
            "frame_step": self.spec.frame_step,
            "fps": info.fps,
            "width": info.width,
            "height": info.height,
            "sound": info.audio is not None,
            "mode": how.mode,
            "stride": how.stride,
        }
        header |= {} if origin is None else {"imported_from": origin}
        return header | ({} if self._grid_gate is None else {"every": how.every}) | how.decision.record


def _chosen(choice: FrameChoice | None, info: VideoInfo) -> Chosen:
    """Returns the chosen frames of a video, whose frames are counted where its end is asked for."""
    if choice is None:
        return ALL
    return choice.chosen(count_frames(info.path).decoded if choice.needs_length else None)
