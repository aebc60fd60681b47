"""The frame/audio sampling of the consistency classifier: its frames and audio for a target frame.

The classified instance is the frame whose saliency is predicted (survey eq. 1), so everything is centred
on that frame's time, index / fps, whatever clip the saliency model sees. At the ends of a video its first or
last frame is repeated and the audio is padded with zeros: every frame is classified.
"""

import numpy as np
from jaxtyping import Float64

from avsd_jax.batch import ClassifierInputs
from avsd_jax.data.preprocessing.vinet import Preprocessing

# Frames are resized and normalised (ImageNet) as ViNet's are, whatever the saliency model's preprocessing.
PREPROCESSING = Preprocessing()


def frame_indices(target: int, fps: float, num_frames: int, inputs: ClassifierInputs) -> tuple[int, ...]:
    """Returns the video's frames for frame `target`: `inputs.num_frames`, by time, centred on the target's
    time.

    Args:
        target: the classified frame, from 0.
        fps: frames per second of the video.
        num_frames: frames of the video.
        inputs: the classifier's clock.
    """
    if inputs.num_frames == 1:
        return (target,)
    indices = np.floor(_wanted(target, fps, inputs) + 0.5).astype(int)
    return tuple(np.clip(indices, 0, num_frames - 1).tolist())


def nearest_frames(
    position: int | float, fps: float, positions: Float64[np.ndarray, " n"], inputs: ClassifierInputs
) -> tuple[int, ...]:
    """Returns `frame_indices` for a video with a variable frame rate.

    Args:
        position: time of the classified frame, times `fps`.
        fps: mean frames per second of the video.
        positions: times of the frames to choose from, times `fps`, increasing.
        inputs: the classifier's clock.

    Returns:
        Indices into `positions`: the nearest ones, the later of two equally near.
    """
    if inputs.num_frames == 1:
        return (int(np.abs(positions - position).argmin()),)
    wanted = _wanted(position, fps, inputs)
    after = np.clip(np.searchsorted(positions, wanted), 0, len(positions) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(wanted - positions[before] < positions[after] - wanted, before, after)
    return tuple(nearest.tolist())


def _wanted(position: int | float, fps: float, inputs: ClassifierInputs) -> Float64[np.ndarray, " n"]:
    """Returns the ideal positions of a classifier's frames, in frames at `fps`."""
    offsets = (np.arange(inputs.num_frames) - (inputs.num_frames - 1) / 2) / inputs.frame_rate
    return position + offsets * fps


def audio_span(target: int | float, fps: float, inputs: ClassifierInputs) -> tuple[int, int]:
    """Returns the samples `(start, stop)`, at the classifier's rate, centred on the time of frame `target`.

    They may lie outside the waveform, where the audio is zero. A frame between two of a constant rate is a fraction.
    """
    length = inputs.audio_samples
    start = round(target / fps * inputs.sample_rate) - length // 2
    return start, start + length
