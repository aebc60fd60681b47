"""UNISAL's training clips: frames some way apart, so that twelve of them show two seconds."""

import dataclasses
from collections.abc import Callable

import numpy as np

from avsd_jax.data.samplers import sequence
from avsd_jax.data.window import Window


@dataclasses.dataclass(frozen=True)
class Sampler(sequence.Sampler):
    """That of sequences, but for the distance between the frames of a training clip.

    Attributes:
        step: that distance, whatever `frame_step`; 5 in the published training on DHF1K, 4 on Hollywood-2 and UCF
            Sports.
    """

    step: int = 5

    def train_window(
        self,
        rng: np.random.Generator,
        item: int,
        num_frames: int,
        clip_size: int,
        frame_step: int,
        is_empty: Callable[[int], bool],
    ) -> Window:
        """Draws a training clip; a shorter video gives one of frames that are nearer. Arguments as in ViNet's."""
        del frame_step
        step = max(1, min(self.step, (num_frames - 1) // max(1, clip_size - 1)))
        return super().train_window(rng, item, num_frames, clip_size, step, is_empty)
