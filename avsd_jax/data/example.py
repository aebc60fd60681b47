"""An example: the batch entries of a clip, built in the same way for stored videos and video files."""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.window import Window

Example = dict[str, np.ndarray]


@runtime_checkable
class ClipSource(Protocol):
    """A clip of a video, under a specification. Frames are resized and normalised, waveforms in [-1, 1]."""

    def frames(self, numbers: tuple[int, ...]) -> Float32[np.ndarray, "t h w 3"]:
        """Returns the model's frames of these numbers."""

    def audio(self, window: Window) -> Float32[np.ndarray, " s"]:
        """Returns the audio of a clip at the preprocessing's rate; no longer than the model's buffer."""

    def pieces(self) -> int | None:
        """Returns for how many frames the audio lasts, see `Preprocessing.pieces`; None if that is not known."""

    def classifier_frames(self, target: int) -> Float32[np.ndarray, "n a a 3"]:
        """Returns the classifier's frames around frame `target`."""

    def classifier_audio(self, target: int) -> Float32[np.ndarray, " r"]:
        """Returns the classifier's audio around frame `target`."""


def make_example(spec: ClipSpec, window: Window, source: ClipSource, avc_label: int | np.integer) -> Example:
    """Builds a model's inputs of a clip: the entries of `avsd_jax.batch.ENTRIES` whose reader is "model".

    Args:
        spec: what the model reads.
        window: the clip.
        source: where its frames and audio come from.
        avc_label: 1 consistent, 0 inconsistent, -1 unlabelled.
    """
    each = spec.audio and spec.preprocessing.frame_audio
    if each:
        window = spec.sampler.heard(window, source.pieces(), spec.frame_step)
    example = {"video": source.frames(window.frames), "avc_label": np.int32(avc_label)}
    if each:
        numbers = window.audio_frames or window.frames
        of = {n: _audio(spec, dataclasses.replace(window, audio_first=n, audio_last=n), source) for n in set(numbers)}
        example["audio"] = np.stack([of[number] for number in numbers])
    elif spec.audio:
        example["audio"] = _audio(spec, window, source)
    return example if spec.avc is None else example | classifier_inputs(source, window.target)


def _audio(spec: ClipSpec, window: Window, source: ClipSource) -> Float32[np.ndarray, " s"]:
    scaled = source.audio(window) * np.float32(spec.preprocessing.waveform_scale)
    return spec.preprocessing.window_audio(scaled, spec.audio_samples, window.reverse_audio)


def classifier_inputs(source: ClipSource, target: int) -> Example:
    """Builds a classifier's inputs around frame `target`, a part of `make_example`."""
    return {"avc_frames": source.classifier_frames(target), "avc_audio": source.classifier_audio(target)}
