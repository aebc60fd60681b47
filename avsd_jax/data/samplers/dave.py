"""DAVE's clips: the last frame of a clip is predicted, and each frame has audio of its own.

Officially frames are counted from 1 and the pieces of the audio from 0, so that the last of a clip's pieces is the one
after its last frame. The first frame, and the first piece, are repeated in front.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from avsd_jax.data.samplers import vinet
from avsd_jax.data.window import Window
from avsd_jax.errors import InputError

ENDS = ("silence", "frozen")
"""What becomes of a clip whose audio has ended; see `Sampler`."""


@dataclasses.dataclass(frozen=True)
class Sampler(vinet.Sampler):
    """DAVE's.

    Attributes:
        ends: what becomes of a clip where the audio has ended, of which each frame needs 0.64 s: "silence", it is
            silent; "frozen", the official rule, the clip stays as it was, its picture too: so all maps of the last
            0.64 s of a film are the same, and more if the audio is shorter. Of a video file, whose length is not known
            while it is read, it is silent in either case.
    """

    ends: str = "silence"

    def __post_init__(self):
        if self.ends not in ENDS:
            raise InputError(f"unknown ends {self.ends!r} of sampler 'dave': choose one of {', '.join(ENDS)}")

    @property
    def freezes(self) -> bool:
        """Returns whether a clip depends on the length of the audio."""
        return self.ends == "frozen"

    def train_window(
        self,
        rng: np.random.Generator,
        item: int,
        num_frames: int,
        clip_size: int,
        frame_step: int,
        is_empty: Callable[[int], bool],
    ) -> Window:
        """Draws a training clip as ViNet's sampler does."""
        drawn = super().train_window(rng, item, num_frames, clip_size, frame_step, is_empty)
        return self.eval_window(drawn.target, num_frames, clip_size, frame_step)

    def eval_window(self, target: int, num_frames: int, clip_size: int, frame_step: int) -> Window:
        """Returns the clip that ends with frame `target`. Arguments as in ViNet's."""
        return _window(target + 1, None, target, clip_size, frame_step)

    def frames_ahead(self, target: int, clip_size: int, frame_step: int) -> int:
        """Returns how many frames after the target decide its clip: none."""
        return 0

    def heard(self, window: Window, number: int | None, frame_step: int) -> Window:
        """Returns a clip as the length of the audio makes it: the clip of the last frame that is heard, if `freezes`.

        Args:
            window: what `eval_window` returned.
            number: pieces of the video's audio that are complete; None: more than the clip needs, or unknown.
            frame_step: distance between a clip's frames.
        """
        if not (self.freezes and number):
            return window
        last = min(window.target + 1, number)
        return _window(last, number, window.target, len(window.frames), frame_step)


def _window(last: int, number: int | None, target: int, clip_size: int, frame_step: int) -> Window:
    """Returns the clip whose frames, counted from 1, end with number `last`, and its pieces, counted from 0, too."""
    numbers = [last - i * frame_step for i in reversed(range(clip_size))]
    frames = tuple(max(1, n) - 1 for n in numbers)
    pieces = [max(0, n) for n in numbers if number is None or n < number]
    pieces = (pieces[0],) * (clip_size - len(pieces)) + tuple(pieces)
    return Window(frames, target, audio_first=frames[0], audio_last=frames[-1], audio_frames=pieces)
