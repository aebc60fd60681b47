"""STANet's clips: the middle frame of a clip is predicted.

A clip of `clip_size` frames, an odd number, takes every `frame_step`-th frame; at the ends of a video, its first or
last frame is repeated, so that every frame has a clip. The audio is centred on the target; the preprocessing sets its
length.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from avsd_jax.data.samplers import vinet
from avsd_jax.data.window import Window


@dataclasses.dataclass(frozen=True)
class Sampler(vinet.Sampler):
    """STANet's."""

    def train_window(
        self,
        rng: np.random.Generator,
        item: int,
        num_frames: int,
        clip_size: int,
        frame_step: int,
        is_empty: Callable[[int], bool],
    ) -> Window:
        """Draws a training clip: a uniform target, redrawn while its map is empty. Arguments as in ViNet's."""
        target = vinet.draw_target(rng, 0, num_frames, is_empty)
        return self.eval_window(target, num_frames, clip_size, frame_step)

    def eval_window(self, target: int, num_frames: int, clip_size: int, frame_step: int) -> Window:
        """Returns the clip around frame `target`; its audio is the target's. Arguments as in ViNet's."""
        offsets = range(-(clip_size // 2), clip_size - clip_size // 2)
        frames = tuple(min(max(0, target + offset * frame_step), num_frames - 1) for offset in offsets)
        return Window(frames, target, audio_first=target, audio_last=target)

    def frames_ahead(self, target: int, clip_size: int, frame_step: int) -> int:
        """Returns how many frames after the target decide its clip. Arguments as in ViNet's."""
        return (clip_size - clip_size // 2 - 1) * frame_step
