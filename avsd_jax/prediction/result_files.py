"""The files of a prediction: overlay, maps, record and plot, drawn and encoded beside the model's work.

Frames are drawn by a few threads, and written by one more, in order: OpenCV, FFmpeg and NumPy let others run meanwhile.
"""

import contextlib
import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from avsd_jax.data.preprocessing.vinet import Preprocessing
from avsd_jax.media import overlay
from avsd_jax.media.reading import Frame, VideoInfo
from avsd_jax.media.writing import VideoWriter
from avsd_jax.prediction import timeline
from avsd_jax.prediction.every_frame import Prediction
from avsd_jax.prediction.frame_choice import ALL, Chosen
from avsd_jax.prediction.map_writers import MAP_WRITERS, VIDEO_RECORD, overlay_name

_DRAWING_THREADS = 2
# Frames that are being drawn or wait to be written.
_MOST_PENDING = 6


class Label(NamedTuple):
    """The label in the corner of a frame; see `avsd_jax.media.overlay.gate_label`."""

    text: str
    opened: bool
    probability: float | None


class _Drawn(NamedTuple):
    """A frame that is drawn: the part of the model's map that shows it, the map's 8-bit image, and the overlay."""

    saliency: Float32[np.ndarray, "h w"]
    grey: UInt8[np.ndarray, "H W"]
    overlaid: UInt8[np.ndarray, "H W 3"] | None


class _Overlay:
    """The video of the overlay, which begins with the first frame that is written, whatever its time.

    Args:
        path: the file to write.
        info: the video.
        to_the_end: whether its audio goes on after the last frame.
    """

    def __init__(self, path: Path, info: VideoInfo, *, to_the_end: bool):
        self._path, self._info, self._to_the_end = path, info, to_the_end
        self._origin = 0.0
        self._stack = contextlib.ExitStack()
        self._writer: VideoWriter | None = None

    def __enter__(self) -> "_Overlay":
        return self

    def write(self, image: UInt8[np.ndarray, "h w 3"], time: float) -> None:
        """Appends a frame, at its time in the video."""
        if self._writer is None:
            self._origin = time
            source = dataclasses.replace(self._info, start=self._info.start + time)
            writer = VideoWriter(
                self._path, source, self._info.width, self._info.height, sound_to_the_end=self._to_the_end
            )
            self._writer = self._stack.enter_context(writer)
        self._writer.write(image, time - self._origin)

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)


class ResultFiles:
    """Writes the files of one video into a folder.

    It is a context manager; an error within it, or in its threads, leaves incomplete files, for the caller to remove.

    Args:
        folder: to write to.
        info: the video.
        maps: a key of `avsd_jax.prediction.map_writers.MAP_WRITERS`.
        preprocessing: converts maps to images.
        header: the first fields of the record.
        label: labels a frame.
        overlay: whether to write the overlay.
        chosen: the frames that are written; the overlay and videos of maps begin with the first one.
    """

    def __init__(
        self,
        folder: Path,
        info: VideoInfo,
        maps: str,
        preprocessing: Preprocessing,
        header: Mapping[str, Any],
        label: Callable[[Prediction], Label],
        *,
        overlay: bool = True,
        chosen: Chosen = ALL,
    ):
        self._folder, self._info, self._label = folder, info, label
        self._preprocessing = preprocessing
        info = dataclasses.replace(info, fps=info.fps / chosen.step)
        self._maps = MAP_WRITERS[maps](folder / "maps", info)
        self._curve = timeline.Curve()
        self._last_time = 0.0
        with contextlib.ExitStack() as stack:
            self._record = stack.enter_context(
                contextlib.closing(timeline.TimelineWriter(folder / VIDEO_RECORD, header))
            )
            self._overlay = None
            if overlay:
                path = folder / overlay_name(folder, info.path.stem)
                self._overlay = stack.enter_context(_Overlay(path, info, to_the_end=chosen.stop is None))
            # The threads end first: of an error's frames, those that no thread has begun are dropped.
            self._drawing = stack.enter_context(threads(_DRAWING_THREADS))
            self._writing = stack.enter_context(threads(1))
            self._stack = stack.pop_all()

    def __enter__(self) -> "ResultFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, frames: Iterable[tuple[Frame, Prediction]]) -> Iterator[Frame]:
        """Writes frames with their predictions in order; yields each once it is drawn, encoded and recorded."""
        pending: deque[tuple[Frame, Prediction, Future[None]]] = deque()
        for frame, prediction in frames:
            drawn = self._drawing.submit(self._draw, frame, prediction)
            pending.append((frame, prediction, self._writing.submit(self._append, frame, drawn)))
            while pending and (len(pending) > _MOST_PENDING or pending[0][-1].done()):
                yield self._recorded(*pending.popleft())
        while pending:
            yield self._recorded(*pending.popleft())

    def finish(self, notes: list[str], num_frames: int) -> None:
        """Completes maps and record, after the last frame."""
        self._maps.close()
        self._record.finish({"num_frames": num_frames, "notes": notes})

    def plot(self, caption: str) -> None:
        """Draws the probability over time, with a caption below its title."""
        title = f"Audio-visual consistency: {self._info.path.name}"
        timeline.draw(self._folder / "timeline.png", self._curve, title, caption, self._last_time + 1 / self._info.fps)

    def _draw(self, frame: Frame, prediction: Prediction) -> _Drawn:
        preprocessing, size = self._preprocessing, frame.image.shape[:2]
        grey = preprocessing.to_image(preprocessing.smooth(prediction.saliency, size))
        own = preprocessing.frame_part(prediction.saliency, size)
        if not self._maps.in_order:
            self._maps.write(frame.index, frame.time, own, grey)
        drawn = None
        if self._overlay is not None:
            drawn = overlay.gate_label(overlay.heat(frame.image, grey), *self._label(prediction))
        return _Drawn(own, grey, drawn)

    def _append(self, frame: Frame, drawing: Future[_Drawn]) -> None:
        drawn = drawing.result()
        if self._maps.in_order:
            self._maps.write(frame.index, frame.time, drawn.saliency, drawn.grey)
        if self._overlay is not None:
            self._overlay.write(drawn.overlaid, frame.time)

    def _recorded(self, frame: Frame, prediction: Prediction, written: Future[None]) -> Frame:
        """Returns a frame once it is written; raises what its threads raised."""
        written.result()
        probability = prediction.probability
        row = {
            "frame": prediction.index,
            "time": round(frame.time, 6),
            "avc_probability": None if probability is None else round(probability, 6),
            "gate": int(prediction.opened),
            "predicted": prediction.predicted,
        }
        self._record.write(row)
        if probability is not None:
            self._curve.append(frame.time, probability, prediction.opened)
        self._last_time = frame.time
        return frame


@contextlib.contextmanager
def threads(number: int) -> Iterator[ThreadPoolExecutor]:
    """Runs threads until the block ends; what they have not begun by then is dropped."""
    pool = ThreadPoolExecutor(number, thread_name_prefix="result_files")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
