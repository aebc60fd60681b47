"""Clips of models that map every frame: consecutive frames, the first of which is the target.

Whatever the sampler of a configuration, which decides about training alone, such a model is evaluated on the clips of
this one: a video is cut from its first frame on, each clip beginning where the maps of the one before end. In training
a clip begins anywhere. At the end of a video its last frame is repeated; maps of repeats are dropped. With a
`frame_step` above 1, the frames of a video are as many sequences, and each is cut like this.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from avsd_jax.data.samplers import vinet
from avsd_jax.data.window import Window


@dataclasses.dataclass(frozen=True)
class Sampler(vinet.Sampler):
    """That of models with `num_maps`; others predict the first frame of a clip with it."""

    def train_window(
        self,
        rng: np.random.Generator,
        item: int,
        num_frames: int,
        clip_size: int,
        frame_step: int,
        is_empty: Callable[[int], bool],
    ) -> Window:
        """Draws a training clip: a uniform start, redrawn while the map there is empty. Arguments as in ViNet's."""
        span = (clip_size - 1) * frame_step
        first = vinet.draw_target(rng, 0, max(1, num_frames - span), is_empty)
        return self.eval_window(first, num_frames, clip_size, frame_step)

    def eval_window(self, target: int, num_frames: int, clip_size: int, frame_step: int) -> Window:
        """Returns the clip that begins with frame `target`. Arguments as in ViNet's."""
        last = max(0, num_frames - 1 - target) // frame_step
        frames = tuple(target + min(i, last) * frame_step for i in range(clip_size))
        return Window(frames, target, audio_first=target, audio_last=frames[-1])

    def frames_ahead(self, target: int, clip_size: int, frame_step: int) -> int:
        """Returns how many frames after the target decide its clip. Arguments as in ViNet's."""
        return (clip_size - 1) * frame_step
