"""The choice of a video's frames to predict, as Python slices a list: `start:end:step`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from avsd_jax.errors import InputError

_SLICE = re.compile(r"(-?\d{1,18})?:(-?\d{1,18})?(?::(\d{1,18})?)?", flags=re.ASCII)


@dataclass(frozen=True)
class Chosen:
    """Frames of a video whose length need not be known.

    Attributes:
        start: the first one.
        stop: the frame that they end before; None: the end of the video.
        step: distance between them.
    """

    start: int = 0
    stop: int | None = None
    step: int = 1

    def has(self, frame: int) -> bool:
        """Returns whether a frame is one of them, if the video has it."""
        return frame >= self.start and (self.stop is None or frame < self.stop) and not (frame - self.start) % self.step

    def between(self, low: int, high: int | None = None) -> Iterator[int]:
        """Yields those from frame `low` on and before `high`, endlessly if neither `high` nor `stop` ends them."""
        frame = self.start + max(0, -(-(low - self.start) // self.step)) * self.step
        ends = [end for end in (high, self.stop) if end is not None]
        while not ends or frame < min(ends):
            yield frame
            frame += self.step

    def predicted(self, stride: int) -> "Chosen":
        """Returns the frames that the model predicts, where every `stride`-th is and the maps between are interpolated.

        Each is one that is predicted of the whole video, too, so the maps are the same.
        """
        if not (self.start % stride or self.step % stride):
            return self
        stop = None
        if self.stop is not None:
            last = self.stop - 1 - (self.stop - 1 - self.start) % self.step
            stop = last + -last % stride + 1
        return Chosen(self.start // stride * stride, stop, stride)


ALL = Chosen()


@dataclass(frozen=True)
class FrameChoice:
    """Frames as they are asked for: ends below 0 count from the end of the video.

    Attributes:
        text: as it was given, `start:end:step`.
    """

    text: str
    start: int | None = None
    stop: int | None = None
    step: int = 1

    @classmethod
    def of(cls, given: "str | slice | FrameChoice | None") -> "FrameChoice | None":
        """Returns the choice of a text or a slice; None if there is none.

        Raises:
            InputError: it is no slice, or one that goes backwards or is empty for every video.
        """
        if given is None or isinstance(given, FrameChoice):
            return given
        if isinstance(given, slice):
            parts = ("" if part is None else str(part) for part in (given.start, given.stop, given.step))
            given = ":".join(parts)
        match = _SLICE.fullmatch(given)
        if match is None or match[3] is not None and not int(match[3]):
            raise InputError(
                f"--frames={given} is no choice of frames: give start:end:step as in Python, such as 100:200 or ::5"
            )
        start, stop, step = (None if part is None else int(part) for part in match.groups())
        same_end = start is not None and stop is not None and (start < 0) == (stop < 0)
        if stop == 0 or same_end and start >= stop:
            raise InputError(f"--frames={given} chooses no frame: its end must come after its start")
        return cls(given, start, stop, 1 if step is None else step)

    @property
    def needs_length(self) -> bool:
        """Returns whether an end counts from the end of the video."""
        return any(end is not None and end < 0 for end in (self.start, self.stop))

    def chosen(self, num_frames: int | None = None) -> Chosen:
        """Returns the frames.

        Args:
            num_frames: length of the video, where it is needed.
        """
        start, stop = self.start or 0, self.stop
        if self.needs_length:
            start, stop, _ = slice(self.start, self.stop).indices(num_frames)
        return Chosen(start, stop, self.step)
