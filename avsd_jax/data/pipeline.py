"""From a store of videos to batches of arrays: sampling, preparation, order, prefetching.

Training: element i of the endless stream of clips is a pure function of (seed, i); step s takes elements s * B to
s * B + B - 1, and of these each process takes a contiguous part. So a checkpoint stores only the step, and the global
batch is the same, row by row, for any number of processes and threads.

Keys of an example (a batch adds the axis b in front):
    video        float32 [t h w 3]  normalised frames
    audio        float32 [s]        the model's sound
    density      float32 [h w]      the target's density map in [0, 1], at the model's size
    fixations    float32 [h w]      1 where a viewer fixates in the target frame
    avc_frames   float32 [n a a 3]  the classifier's frames      (only with a classifier)
    avc_audio    float32 [r]        the classifier's waveform    (only with a classifier)
    avc_label    int32 []           1 consistent, 0 inconsistent, -1 unlabelled
    video_index  int32 []           position of the video in the store
    frame_index  int32 []           target frame
    mask         bool []            False in the rows that fill up the last batch of an evaluation
"""

import functools
from collections.abc import Iterator
from types import ModuleType

import cv2
import grain
import numpy as np
from absl import flags

from avsd_jax.by_name import load_module
from avsd_jax.data import audio
from avsd_jax.data.audio import AUDIO_CONDITIONS
from avsd_jax.data.lru import ByteCache
from avsd_jax.data.preprocessing import avc
from avsd_jax.data.store import VideoStore
from avsd_jax.data.window import Window
from avsd_jax.errors import InputError

__all__ = ["AUDIO_CONDITIONS", "ClipSpec", "eval_batches", "train_batches"]
