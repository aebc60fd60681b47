"""The clips of a video file, preprocessed for a model while the file is decoded.

They are the same as the clips that evaluation reads of a stored video (`avsd_jax.data.pipeline.eval_batches`), by the
same sampler, preprocessing and builder of examples. But the numbers of frames and samples are unknown until the file
ends, and only the data that the next clip may need is kept.
"""

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Float32, UInt8

from avsd_jax.data import avc_inputs
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.consistency_grid import cell
from avsd_jax.data.example import classifier_inputs, make_example
from avsd_jax.data.preprocessing.vinet import Preprocessing
from avsd_jax.data.window import Window
from avsd_jax.media.reading import AudioWindow, Frame, VideoInfo, read_frames
from avsd_jax.prediction.frame_choice import Chosen

# The rate of the audio buffers (ViNet: a tenth of a second per frame) if the preprocessing sets none.
_SAMPLE_RATE = 22_050
# Time stamps are rounded, to milliseconds in many files: a frame this near its time at a constant rate is regular.
_ROUNDED_SECONDS = 0.002


FIRST, LATER = "first", "later"


class Clip(NamedTuple):
    """The inputs of a model for frame `index`, of its classifier, or of both; arrays without the axis b.

    A clip of a model of sequences begins with frame `index`, and maps of `frames` are asked for.

    Attributes:
        index: the target.
        inputs: entries of a batch.
        frames: the frames of a sequence that are asked for.
        place: in a series of clips each of which is the one before, moved on: FIRST, or LATER, which then holds its
            last frames alone; "" outside such a series.
    """

    index: int
    inputs: dict[str, np.ndarray]
    frames: tuple[int, ...] = ()
    place: str = ""


class _Prepared(NamedTuple):
    """A decoded frame at the input sizes of the model and of the classifier (None if no classifier sees it).

    Its position is its time in frames at the video's mean rate: its number if the rate is constant. It is scored if it
    is the first one of its cell of the classifier's time grid.
    """

    position: int | float
    scored: bool
    model: Float32[np.ndarray, "h w 3"]
    classifier: Float32[np.ndarray, "s s 3"] | None


class ClipStream:
    """Iterates over the clips of every `stride`-th frame of a video, with a classifier's inputs where it scores.

    For a model of sequences (`spec.num_maps`) these are the clips with one of these frames, all clips if a state passes
    between them; a clip of each phase (`spec.phases`) in turn.

    Frames are used as they come, at the file's own rate. Audio, and the frames for a classifier, are selected by the
    time of a frame, which for a constant rate is equivalent to its number.

    Close it (`contextlib.closing`) where not all clips are read.

    Args:
        info: the file.
        spec: the inputs of the model.
        stride: distance between the frames that have the model's inputs; None: no frame has.
        every: seconds between those that have the classifier's, see `avsd_jax.data.consistency_grid`; None: those of
            the stride.
        frames: all frames of the file, if the caller looks at them too.
        advance: if given, clips are marked by their place in series of clips that are moved on by so many frames each.
        audio: opens the audio at a rate, if not that of the file.
        first: the first frame that has the model's inputs.
        stop: the frame that those end before; None: the end of the video.
    """

    def __init__(
        self,
        info: VideoInfo,
        spec: ClipSpec,
        stride: int | None = 1,
        *,
        every: float | None = None,
        frames: Iterator[Frame] | None = None,
        advance: int | None = None,
        audio: Callable[[int], AudioWindow] | None = None,
        first: int = 0,
        stop: int | None = None,
    ):
        self._info = info
        self._spec = spec
        # The frames that have a map: clips begin with them, or with the sequences that they are in.
        self._mapped = None if stride is None else Chosen(first, stop, stride)
        self._stride = spec.num_mapped or stride
        self._origin = 0 if spec.num_maps else first
        whole = spec.num_mapped or 1
        self._end = None if stop is None else -(-stop // whole) * whole
        # A state, and the grid of a classifier, begin with the video.
        self._start = 0 if spec.carries or every is not None else first // whole * whole
        self._every = every
        self._cell: int | None = None
        # On a grid of its own, the classifier's inputs are made apart from the model's.
        self._model_spec = spec if every is None else dataclasses.replace(spec, avc=None)
        self._source = read_frames(info.path) if frames is None else frames
        # How many frames before one the sampler may look. The classifier looks around by time.
        self._reach = (spec.clip_size - 1) * spec.frame_step + 1
        several = spec.avc is not None and spec.avc.num_frames > 1
        self._half = (spec.avc.num_frames - 1) / 2 / spec.avc.frame_rate * info.fps if several else 0.0
        self._frames: deque[_Prepared] = deque()
        self._first = 0
        self._advance = advance
        self._before: tuple[int, ...] = ()
        self._place = ""
        self._opens_audio = audio or (lambda rate: AudioWindow(info.path, rate, info.start))
        self._audio = self._open_audio(spec.preprocessing.sample_rate or _SAMPLE_RATE) if spec.audio else None
        self._avc_audio = self._open_audio(spec.avc.sample_rate) if spec.avc is not None else None
        self.notes: list[str] = []
        self._told_of_length = False
        self._ended = False

    def _open_audio(self, rate: int) -> AudioWindow | None:
        return self._opens_audio(rate) if self._info.audio else None

    @property
    def in_series(self) -> bool:
        """Returns whether clips have places in series."""
        return self._advance is not None

    @property
    def num_frames(self) -> int | None:
        """Returns the number of the file's frames; None if it was not read to its end."""
        return self._decoded if self._ended else None

    def note(self, text: str) -> None:
        """Logs and records a note on the input, once."""
        if text not in self.notes:
            logging.warning("%s: %s", self._info.path.name, text)
            self.notes.append(text)

    def note_skipped(self, count: int) -> None:
        """Notes that many of the file's frames are missing among the `count` that were decoded."""
        if count < 0.9 * (self._info.num_frames or 0):
            skipped = self._info.num_frames - count
            self.note(f"{skipped} of {self._info.num_frames} images cannot be decoded: they are skipped")

    def close(self) -> None:
        """Closes the file's audio; no clip can be read any more."""
        for sound in (self._audio, self._avc_audio):
            if sound is not None:
                sound.close()

    def __iter__(self) -> Iterator[Clip]:
        target = self._start
        while self._end is None or target < self._end:
            while not self._ended and self._needs_more(target):
                frame = next(self._source, None)
                if frame is None:
                    self._ended = True
                elif frame.index < target - self._reach and not self._half:
                    self._frames.clear()
                    self._first = frame.index + 1
                else:
                    self._append(frame.time, frame.image)
                    self._drop_frames(target)
            if target >= self._decoded:
                return
            if target == self._start > 0:
                self._forget(target)
            predicted = self._is_first(target) and self._is_asked(target)
            inputs = self._inputs(target, predicted)
            if inputs:
                yield Clip(target, inputs, self._shown(target) if predicted else (), place=self._place)
            target = self._next(target)
            self._forget(target)

    def _next(self, target: int) -> int:
        """Returns the next frame that may have inputs."""
        after = target + 1
        if self._every is not None or self._is_first(after):
            return after
        return target + self._stride - (target - self._origin) % self._stride

    def _is_first(self, target: int) -> bool:
        """Returns whether a clip of a model with a stride or of sequences begins with a frame."""
        if not self._stride or target < self._origin:
            return False
        return (target - self._origin) % self._stride < self._spec.phases

    def _is_asked(self, target: int) -> bool:
        """Returns whether a map is asked for of the clips of all phases, of which one may begin with this frame."""
        spec, mapped = self._spec, self._mapped
        if not spec.num_maps or spec.carries:
            return True
        first = target - target % spec.num_mapped
        return any(map(mapped.has, range(first, min(first + spec.num_mapped, self._decoded))))

    def _shown(self, target: int) -> tuple[int, ...]:
        """Returns the frames whose maps are asked for of the clip of a sequence that begins with frame `target`."""
        frames = range(target, min(target + self._spec.num_mapped, self._decoded), self._spec.frame_step)
        return tuple(filter(self._mapped.has, frames))

    def _needs_more(self, target: int) -> bool:
        """Returns whether the clip of frame `target` may contain frames that are not decoded yet."""
        spec = self._spec
        if self._decoded < target + spec.eval_sampler.frames_ahead(target, spec.clip_size, spec.frame_step) + 1:
            return True
        return self._frames[-1].position < self._at(target).position + self._half

    def _is_scored(self, position: int | float) -> bool:
        """Returns whether the next frame is the first one of its cell; called once for each frame, in order."""
        if not self._every:
            return True
        before, self._cell = self._cell, cell(position / self._info.fps, self._every)
        return self._cell != before

    @property
    def _decoded(self) -> int:
        return self._first + len(self._frames)

    def _append(self, time: float, image: np.ndarray) -> None:
        avc = self._spec.avc
        position = time * self._info.fps
        if abs(round(position) - position) < _ROUNDED_SECONDS * self._info.fps:
            position = round(position)
        scored = self._is_scored(position)
        model = _prepared(image, self._spec.frame_size, self._spec.preprocessing)
        classifier = None
        # A classifier of one frame sees none but those that it scores.
        if avc is not None and (scored or avc.num_frames > 1):
            classifier = _prepared(image, (avc.frame_size, avc.frame_size), avc_inputs.PREPROCESSING)
        self._frames.append(_Prepared(position, scored, model, classifier))

    def _at(self, index: int) -> _Prepared:
        return self._frames[index - self._first]

    def _inputs(self, target: int, predicted: bool) -> dict[str, np.ndarray]:
        """Returns the inputs that frame `target` has; none if neither the model nor the classifier reads it.

        Args:
            target: the frame.
            predicted: whether the model predicts its clip.
        """
        spec, inputs = self._model_spec, {}
        if predicted:
            # As with the whole video's number of frames: the sampler depends on none further ahead.
            window = spec.eval_sampler.eval_window(target, self._decoded, spec.clip_size, spec.frame_step)
            inputs = make_example(spec, self._in_series(window), self, avc_label=-1)
        if self._every is not None and self._at(target).scored and self._spec.avc is not None:
            inputs |= classifier_inputs(self, target)
        return inputs

    def _in_series(self, window: Window) -> Window:
        """Notes the window's place in a series; returns it, cut to its last frames if the others were shown before."""
        if self._advance is None:
            return window
        before, self._before = self._before, window.frames
        # A clip that looked alone, as the video might have ended, begins no series.
        if self._place and self._follows(before, window.frames):
            self._place = LATER
            return dataclasses.replace(window, frames=window.frames[-self._advance :])
        spec, target = self._model_spec, window.target + self._stride
        # If the video ends before, a series of one.
        end = target + 1 + spec.eval_sampler.frames_ahead(target, spec.clip_size, spec.frame_step)
        after = spec.eval_sampler.eval_window(target, end, spec.clip_size, spec.frame_step).frames
        self._place = FIRST if self._follows(window.frames, after) else ""
        return window

    def _follows(self, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
        """Returns whether a clip of frames is another one moved on; frames that are repeated follow like others."""
        return before[self._advance :] == after[: -self._advance]

    def frames(self, numbers: tuple[int, ...]) -> Float32[np.ndarray, "t h w 3"]:
        """Returns the model's frames of these numbers; see `ClipSource`."""
        return np.stack([self._at(number).model for number in numbers])

    def classifier_frames(self, target: int) -> Float32[np.ndarray, "n a a 3"]:
        """Returns the classifier's frames, nearest to the requested times; see `ClipSource`."""
        position, positions = self._at(target).position, np.array([f.position for f in self._frames], np.float64)
        shown = avc_inputs.nearest_frames(position, self._info.fps, positions, self._spec.avc)
        return np.stack([self._frames[i].classifier for i in shown])

    def classifier_audio(self, target: int) -> Float32[np.ndarray, " r"]:
        """Returns the classifier's audio, zeros without a track; see `ClipSource`."""
        start, stop = avc_inputs.audio_span(self._at(target).position, self._info.fps, self._spec.avc)
        return np.zeros(stop - start, np.float32) if self._avc_audio is None else self._avc_audio.excerpt(start, stop)

    def audio(self, window: Window) -> Float32[np.ndarray, " s"]:
        """Returns a clip's audio, its middle if it is too long, nothing without a track; see `ClipSource`."""
        if self._audio is None:
            return np.zeros(0, np.float32)
        length, (start, stop) = self._spec.audio_samples, self._audio_span(window)
        if stop - start > length:
            if not self._told_of_length:
                heard = length / self._audio.rate
                self.note(
                    f"some clips last longer than the {heard:.1f} s that the model hears (at {self._info.fps:g} frames "
                    "per second): it gets the middle of the clip's audio"
                )
            self._told_of_length = True
            start += (stop - start - length) // 2
            stop = start + length
        return self._audio.excerpt(start, stop)

    def pieces(self) -> None:
        """Returns None: how long the audio lasts is not known yet; see `ClipSource`."""
        if self._spec.sampler.freezes and self._audio is not None:
            self.note("clips are silent after the end of the audio: the rule of evaluation needs the length of a video")

    def _position(self, index: int) -> int | float:
        """Returns the position of a frame, also of one after the last that is decoded."""
        known = min(index, self._decoded - 1)
        return self._at(known).position + index - known

    def _audio_span(self, window: Window) -> tuple[int, int]:
        """Returns the samples `(start, stop)` of a clip's audio: as at a constant rate, moved to the frames' times."""
        preprocessing, fps, rate = self._spec.preprocessing, self._info.fps, self._audio.rate
        positions = self._position(window.audio_first), self._position(window.audio_last)
        first, last = (round(position) for position in positions)
        early, late = (round((p - round(p)) / fps * rate) for p in positions)
        frames, available = last + 1, self._audio.reach(math.ceil((positions[1] + 1) / fps * rate) + 1)
        if preprocessing.sample_rate is not None:
            if self._info.num_frames is not None:
                # Windows of a fixed length may be spread over the whole file.
                frames, available = self._info.num_frames, round(self._info.num_frames / fps * rate)
            start, stop = preprocessing.excerpt_span(first, last, frames, fps, rate, available)
            return start + (early + late) // 2, stop + (early + late) // 2
        if not (early or late):
            return preprocessing.excerpt_span(first, last, frames, fps, rate, available)
        # Moved first and cut to the audio there is then.
        start, stop = preprocessing.excerpt_span(first, last, frames, fps, rate, math.ceil((last + 2) / fps * rate))
        start = min(available, max(0, start + early))
        return start, max(start, min(available, stop + late))

    def _drop_frames(self, target: int) -> None:
        """Drops the frames that no clip from frame `target` on contains."""
        # The classifier of a frame not decoded yet looks no further back than that of the last one that is.
        since = self._at(min(target, self._decoded - 1)).position - self._half
        while len(self._frames) > 1 and self._first < target - self._reach and self._frames[1].position <= since:
            self._frames.popleft()
            self._first += 1

    def _forget(self, target: int) -> None:
        """Drops the data that no clip from frame `target` on reads."""
        self._drop_frames(target)
        fps = self._info.fps
        if self._audio is not None:
            # Windows of a set length may begin before the first frame that is kept, by no more than their length.
            before = self._spec.audio_samples if self._spec.preprocessing.sample_rate is not None else 0
            oldest = math.floor((self._frames[0].position - 1) / fps * self._audio.rate)
            if self._spec.preprocessing.frame_audio:  # it may be behind the frames by more and more
                oldest = min(oldest, self._audio_span(Window((), self._first, self._first, self._first))[0])
            self._audio.forget(oldest - before)
        if self._avc_audio is not None:
            # The frame may not be decoded yet: the one before it reads from earlier.
            position = self._at(min(target, self._decoded - 1)).position
            self._avc_audio.forget(avc_inputs.audio_span(position, fps, self._spec.avc)[0])


def _prepared(
    image: UInt8[np.ndarray, "h w 3"], size: tuple[int, int], preprocessing: Preprocessing
) -> Float32[np.ndarray, "height width 3"]:
    return preprocessing.normalise(preprocessing.resize_frame(image, size))
