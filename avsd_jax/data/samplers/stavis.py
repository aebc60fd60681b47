"""STAViS's clips: consecutive frames, of which one in the middle is predicted.

Training cuts a video into windows of 90 frames, which begin `90 - clip_size` apart, and draws one clip from each per
epoch. The target is the median of the clip's frame numbers, counted from 1, with halves rounded to the even number
(Python's `round`): of 16 frames the eighth or the ninth. Testing starts a clip at every frame and calls its
prediction the ninth frame's, so that a model is tested on targets half of which it was not trained for. Clips that
reach past the end of the video wrap around to their own first frame; their audio ends with whichever frame is last.
"""

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from avsd_jax.data.samplers import vinet
from avsd_jax.data.window import Window
from avsd_jax.errors import InputError

WINDOW_FRAMES = 90
TARGETS = ("ninth", "median", "centre")
"""Which frames an evaluation predicts, and from which clips; see `Sampler`."""


@dataclasses.dataclass(frozen=True)
class Sampler(vinet.Sampler):
    """STAViS's.

    Attributes:
        targets: which frames an evaluation predicts: "ninth", all from the ninth frame on (in general from
            `clip_size // 2`, counted from 0), as STAViS numbers its predictions; "median", those that are the training
            target of some clip of the test; "centre", the training targets of the clips in the middle of each training
            window, which is STAViS's validation.
    """

    targets: str = "ninth"

    def __post_init__(self):
        if self.targets not in TARGETS:
            raise InputError(
                f"unknown targets {self.targets!r} of sampler 'stavis': choose one of {', '.join(TARGETS)}"
            )

    def train_items(self, num_frames: int, clip_size: int) -> int:
        """Returns the number of windows of a video, one per clip of an epoch; 0 for a single frame, as officially.

        Raises:
            InputError: a clip is longer than a window.
        """
        return len(range(0, num_frames - 1, _step(clip_size)))

    def train_window(
        self,
        rng: np.random.Generator,
        item: int,
        num_frames: int,
        clip_size: int,
        frame_step: int,
        is_empty: Callable[[int], bool],
    ) -> Window:
        """Draws a clip from a window, uniformly among all but the last that fit: the official bounds.

        Args:
            rng: source of the draw.
            item: number of the window, below `train_items`.
            num_frames: frames of the video, at least 2.
            clip_size: frames of a clip.
            frame_step: 1.
            is_empty: unused: targets without gaze are not redrawn.

        Raises:
            InputError: another frame step.
        """
        _check(frame_step)
        window = _train_frames(item, num_frames, clip_size)
        begin = int(rng.integers(max(1, len(window) - clip_size)))
        return _clip(window[begin:], clip_size)

    def eval_targets(self, num_frames: int, clip_size: int, stride: int) -> Sequence[int]:
        """Returns the frames to predict, every `stride`-th of those that `targets` selects."""
        if self.targets == "ninth":
            return range(clip_size // 2, num_frames, stride)
        if self.targets == "median":
            clips = (test_window(start, num_frames, clip_size) for start in range(num_frames - 1))
        else:
            clips = _centre_clips(self.train_items(num_frames, clip_size), num_frames, clip_size)
        return sorted({clip.target for clip in clips})[::stride]

    def eval_window(self, target: int, num_frames: int, clip_size: int, frame_step: int) -> Window:
        """Returns the clip from which frame `target` is predicted.

        There is one for each frame of any video: a frame that `eval_targets` leaves out gets the clip of which it is
        the ninth, and one of the first eight the first clip. Arguments as in ViNet's.

        Raises:
            InputError: another frame step.
        """
        _check(frame_step)
        clips: Iterable[Window] = ()
        if self.targets == "median":
            starts = range(max(0, target - clip_size), min(target + 1, num_frames - 1))
            clips = (test_window(start, num_frames, clip_size) for start in starts)
        elif self.targets == "centre":
            clips = _centre_clips(self.train_items(num_frames, clip_size), num_frames, clip_size)
        for clip in clips:
            if clip.target == target:
                return clip
        ninth = test_window(max(0, target - clip_size // 2), num_frames, clip_size)
        return dataclasses.replace(ninth, target=target)

    def frames_ahead(self, target: int, clip_size: int, frame_step: int) -> int:
        """Returns how many frames after the target decide its clip. Arguments as in ViNet's."""
        if self.targets == "ninth":
            return max(0, target - clip_size // 2) + clip_size - 1 - target
        return clip_size if self.targets == "median" else WINDOW_FRAMES


def test_window(start: int, num_frames: int, clip_size: int) -> Window:
    """Returns the clip of STAViS's test that begins with frame `start`; its target is the median.

    The test has one for every start but the last frame.

    Args:
        start: first frame, from 0.
        num_frames: frames of the video.
        clip_size: frames of a clip.
    """
    return _clip(range(start, num_frames), clip_size)


def _centre_clips(items: int, num_frames: int, clip_size: int) -> Iterable[Window]:
    """Yields the clip in the middle of each training window."""
    for item in range(items):
        window = _train_frames(item, num_frames, clip_size)
        yield _clip(window[max(0, len(window) // 2 - clip_size // 2) :], clip_size)


def _train_frames(item: int, num_frames: int, clip_size: int) -> range:
    start = item * _step(clip_size)
    return range(start, min(num_frames, start + WINDOW_FRAMES))


def _clip(frames: range, clip_size: int) -> Window:
    """Returns the clip of the first of `frames`, repeated if there are too few."""
    shown = tuple(itertools.islice(itertools.cycle(frames), clip_size))
    target = round(statistics.median(shown) + 1) - 1  # the rounding is of numbers from 1
    return Window(shown, target, audio_first=shown[0], audio_last=shown[-1])


def _step(clip_size: int) -> int:
    if clip_size >= WINDOW_FRAMES:
        raise InputError(f"sampler 'stavis' cuts clips from {WINDOW_FRAMES} frames: use a clip_size below that")
    return WINDOW_FRAMES - clip_size


def _check(frame_step: int) -> None:
    if frame_step != 1:
        raise InputError(f"sampler 'stavis' takes consecutive frames: use frame_step=1, not {frame_step}")
