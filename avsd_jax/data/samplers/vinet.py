"""ViNet's clips: the last frame of a clip is predicted.

A clip of `clip_size` frames takes every `frame_step`-th frame (`alternate` in the official code, 1 in all
published runs), so it spans (clip_size - 1) * frame_step frames before its target.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from avsd_jax.data.window import Window

# Maximum number of draws of a target with gaze; for a video without any, the official code never ends.
_MAX_DRAWS = 100


@dataclasses.dataclass(frozen=True)
class Sampler:
    """ViNet's, and the base of the others: they override what they do differently, and add options as fields.

    Attributes:
        freezes: whether a clip depends on the length of the video's audio, see `heard`.
    """

    freezes = False

    def train_items(self, num_frames: int, clip_size: int) -> int:
        """Returns the number of clips per video and epoch: one."""
        return 1

    def train_window(
        self,
        rng: np.random.Generator,
        item: int,
        num_frames: int,
        clip_size: int,
        frame_step: int,
        is_empty: Callable[[int], bool],
    ) -> Window:
        """Draws a training clip: a uniform start among all clips that fit.

        It is redrawn while the target's map is empty. A video shorter than a clip gives its last frame as the
        target, with the first frame repeated in front.

        Args:
            rng: source of the draw.
            item: which of the video's `train_items` clips; there is one.
            num_frames: frames of the video, at least 1.
            clip_size: frames of a clip.
            frame_step: distance between a clip's frames.
            is_empty: whether a frame's density map is zero everywhere.
        """
        span = (clip_size - 1) * frame_step
        first, choices = min(span, num_frames - 1), max(1, num_frames - span)
        return _forward(draw_target(rng, first, choices, is_empty), clip_size, frame_step)

    def eval_targets(self, num_frames: int, clip_size: int, stride: int) -> Sequence[int]:
        """Returns the frames to predict: every `stride`-th, whatever the clip's length."""
        return range(0, num_frames, stride)

    def eval_window(self, target: int, num_frames: int, clip_size: int, frame_step: int) -> Window:
        """Returns the clip from which frame `target` is predicted; every frame of a video of any length has one.

        From frame `span` on, the clip ends with the target. Before, it starts with the target and is shown in
        reversed order of time, its audio too. Where the video is too short for that (official rule for short
        videos: frames from `num_frames - 1 - span` on), the clip ends with the target and the first frame is
        repeated in front.

        Args:
            target: frame to predict, from 0.
            num_frames: frames of the video, at least 1.
            clip_size: frames of a clip.
            frame_step: distance between a clip's frames.
        """
        span = (clip_size - 1) * frame_step
        if target < min(span, num_frames - 1 - span):
            frames = tuple(range(target + span, target - 1, -frame_step))
            return Window(frames, target, audio_first=target, audio_last=target + span, reverse_audio=True)
        return _forward(target, clip_size, frame_step)

    def frames_ahead(self, target: int, clip_size: int, frame_step: int) -> int:
        """Returns how many frames after the target decide its clip: with more of the video it is the same.

        Those that the clip shows, and one more where the rule depends on whether the video continues. Arguments as in
        `eval_window`.
        """
        span = (clip_size - 1) * frame_step
        return span + 1 if target < span else 0

    def heard(self, window: Window, number: int | None, frame_step: int) -> Window:
        """Returns a clip as the length of the audio makes it, where each frame has audio of its own: as it is.

        Args:
            window: what `eval_window` returned.
            number: of frames whose audio the video has completely; None: it is not known.
            frame_step: distance between a clip's frames.
        """
        return window


def draw_target(rng: np.random.Generator, first: int, choices: int, is_empty: Callable[[int], bool]) -> int:
    """Draws a frame, uniformly among `choices` from `first` on; redrawn while its map is empty."""
    target = first
    for _ in range(_MAX_DRAWS):
        target = first + int(rng.integers(choices))
        if not is_empty(target):
            break
    return target


def _forward(target: int, clip_size: int, frame_step: int) -> Window:
    frames = tuple(max(0, target - i * frame_step) for i in reversed(range(clip_size)))
    return Window(frames, target, audio_first=frames[0], audio_last=target)
