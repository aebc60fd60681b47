"""STANet's choice of clips: the middle frame of a clip is predicted.

A clip of `clip_size` frames, an odd number, takes every `frame_step`-th frame; where a video ends, its first or last
frame is repeated, so that every frame has a clip. The sound is that around the target: the preprocessing says how much.
"""

from collections.abc import Callable

import numpy as np

from avsd_jax.data.samplers.vinet import eval_targets, train_items
from avsd_jax.data.window import Window

__all__ = ["eval_targets", "eval_window", "train_items", "train_window"]

# Draws until a target with a map is found; a video without any would otherwise be asked for ever.
_MAX_DRAWS = 100


def train_window(
    rng: np.random.Generator,
    item: int,
    num_frames: int,
    clip_size: int,
    frame_step: int,
    is_empty: Callable[[int], bool],
) -> Window:
    """Draws a training clip: a uniform target, drawn anew while its map is empty.

    Args:
        rng: source of the draw.
        item: which of the video's `train_items` clips; there is one.
        num_frames: frames of the video, at least 1.
        clip_size: frames of a clip.
        frame_step: distance between a clip's frames.
        is_empty: whether a frame's density map is zero everywhere.
    """
    del item
    for _ in range(_MAX_DRAWS):
        target = int(rng.integers(num_frames))
        if not is_empty(target):
            break
    return eval_window(target, num_frames, clip_size, frame_step)


def eval_window(target: int, num_frames: int, clip_size: int, frame_step: int) -> Window:
    """The clip around frame `target`; its sound is the target's.

    Args:
        target: frame to predict, from 0.
        num_frames: frames of the video, at least 1.
        clip_size: frames of a clip.
        frame_step: distance between a clip's frames.
    """
    offsets = range(-(clip_size // 2), clip_size - clip_size // 2)
    frames = tuple(min(max(0, target + offset * frame_step), num_frames - 1) for offset in offsets)
    return Window(frames, target, audio_first=target, audio_last=target)
