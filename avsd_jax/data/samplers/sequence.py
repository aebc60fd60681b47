"""Clips of models that map every frame: consecutive frames, the first of which is the target.

A video is cut into clips from its first frame on, each beginning where the maps of the one before end. In training a
clip begins anywhere. At the end of a video its last frame is repeated; maps of repeats are dropped.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from avsd_jax.data.samplers import vinet
from avsd_jax.data.window import Window
from avsd_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Sampler(vinet.Sampler):
    """That of all models with `num_maps`."""

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
        first = vinet.draw_target(rng, 0, max(1, num_frames - clip_size + 1), is_empty)
        return self.eval_window(first, num_frames, clip_size, frame_step)

    def eval_window(self, target: int, num_frames: int, clip_size: int, frame_step: int) -> Window:
        """Returns the clip that begins with frame `target`.

        Raises:
            InputError: frames would be left out.
        """
        if frame_step != 1:
            raise InputError(f"sampler 'sequence' maps every frame and frame_step is {frame_step}: set it to 1")
        frames = tuple(min(target + i, num_frames - 1) for i in range(clip_size))
        return Window(frames, target, audio_first=target, audio_last=frames[-1])
