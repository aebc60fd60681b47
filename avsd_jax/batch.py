"""The contract between data, models and losses: the entries of a batch, and the inputs of a classifier.

`ENTRIES` is the whole contract. The pipeline builds the entries that a model's clip specification needs, models read
them by `read`, losses read the rest, and host-only entries (`frame_index`, `mask`) go to no device.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from avsd_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class ClassifierInputs:
    """The inputs of a consistency classifier around the classified moment; `classifier.inputs` of every classifier.

    Attributes:
        num_frames: frames, centred on the moment.
        frame_rate: frames per second between them; None for a single frame.
        frame_size: height and width of the square frames, pixels.
        sample_rate: of the waveform, Hz.
        audio_seconds: length of the waveform, centred on the moment.
    """

    num_frames: int
    frame_rate: float | None
    frame_size: int
    sample_rate: int
    audio_seconds: float

    @property
    def audio_samples(self) -> int:
        """Returns the length of the waveform in samples."""
        return round(self.audio_seconds * self.sample_rate)


@runtime_checkable
class ClipSizes(Protocol):
    """The sizes that determine the shapes of a batch; see `avsd_jax.data.clip_spec.ClipSpec`."""

    clip_size: int
    frame_size: tuple[int, int]
    audio: bool
    audio_samples: int
    audio_shape: tuple[int, ...]
    avc: ClassifierInputs | None
    tags: tuple[str, ...]
    num_maps: int
    target_shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of a batch.

    Attributes:
        axes: names of the axes of an example, keys of `_axis_sizes`; a batch adds the axis b in front.
        dtype: its type.
        reader: "model" reads it at inference too, "loss" in training alone, "host" never puts it on a device.
        meaning: what it holds.
        made: whether the pipeline builds it; others are read if a caller adds them.
        target: whether it has the shape of the predicted maps: a model of sequences adds an axis in front, and its maps
            may be smaller than its frames.
    """

    axes: str
    dtype: type
    reader: str
    meaning: str
    made: bool = True
    target: bool = False

    @property
    def shape(self) -> str:
        """Returns the shape in a batch, for messages."""
        return f"[{' '.join(['b', *self.axes.split()])}]"

    @property
    def width_axis(self) -> int | None:
        """Returns the horizontal axis of an example, counted from the last; None if there is none."""
        axes = self.axes.split()
        return next((i - len(axes) for i, axis in enumerate(axes) if axis in ("w", "aw")), None)


ENTRIES: dict[str, Entry] = {
    "video": Entry("t h w 3", np.float32, "model", "normalised frames"),
    "taps": Entry("", np.float32, "model", "a tree: features of the video encoder, if they are known", made=False),
    "audio": Entry("s", np.float32, "model", "the scaled waveform, or [t s], one of each frame; if the model reads it"),
    "avc_frames": Entry("n ah aw 3", np.float32, "model", "the classifier's frames; if there is a classifier"),
    "avc_audio": Entry("r", np.float32, "model", "the classifier's waveform; if there is a classifier"),
    "avc_logits": Entry("2", np.float32, "model", "the classifier's logits, instead of its inputs", made=False),
    "avc_label": Entry("", np.int32, "model", "1 consistent, 0 inconsistent, -1 unlabelled"),
    "frame_labels": Entry("m", np.int32, "model", "the same of each mapped frame; of models of sequences"),
    "gate_label": Entry("", np.int32, "model", "the same for the gate alone, where it differs", made=False),
    "density": Entry("h w", np.float32, "loss", "the target's density map in [0, 1], at the model's size", target=True),
    "fixations": Entry("h w", np.float32, "loss", "1 where a viewer fixates in the target frame", target=True),
    "tags": Entry("k", np.float32, "loss", "1 where the video has the tag; if the model classifies tags"),
    "video_index": Entry("", np.int32, "loss", "position of the video in the store"),
    "frame_index": Entry("", np.int32, "host", "the target frame"),
    "mask": Entry("", np.bool_, "host", "False for padding in the last batch of an evaluation"),
    "spectrogram": Entry("f c", np.float32, "model", "STANet's precomputed input, instead of `audio`", made=False),
    "captions": Entry("l", np.int32, "model", "numbers of the words, -1 after the last, for MWS's network", made=False),
    "pixel_weights": Entry("h w", np.float32, "loss", "how much a pixel counts in SBF's loss", made=False),
    "text": Entry("e", np.float32, "model", "a sentence's embedding, for AAM, instead of its option", made=False),
    "carry": Entry("", np.float32, "model", "a tree: the state after the clip before; zeros if absent", made=False),
    "switch": Entry("", np.float32, "model", "in [0, 1], how much of the audio STANet uses", made=False),
}


def _axis_sizes(spec: ClipSizes) -> dict[str, int]:
    """Returns the sizes of the axes in the batches of a specification."""
    height, width = spec.frame_size
    sizes = {"t": spec.clip_size, "h": height, "w": width, "3": 3}
    if spec.audio:
        sizes["s"] = spec.audio_samples
    if spec.avc is not None:
        size = spec.avc.frame_size
        sizes |= {"n": spec.avc.num_frames, "ah": size, "aw": size, "r": spec.avc.audio_samples}
    if spec.num_maps:
        sizes["m"] = spec.num_maps
    if spec.tags:
        sizes["k"] = len(spec.tags)
    return sizes


def batch_shapes(spec: ClipSizes, batch_size: int = 1) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes and types of the entries that go to the devices in a step."""
    sizes, shapes = _axis_sizes(spec), {}
    for key, entry in ENTRIES.items():
        axes = entry.axes.split()
        if entry.made and entry.reader != "host" and sizes.keys() >= set(axes):
            shape = spec.target_shape if entry.target else tuple(sizes[axis] for axis in axes)
            shape = spec.audio_shape if key == "audio" else shape
            shapes[key] = jax.ShapeDtypeStruct((batch_size, *shape), entry.dtype)
    return shapes


def zeros(spec: ClipSizes, batch_size: int = 1) -> dict[str, np.ndarray]:
    """Returns a batch of zeros of `batch_shapes`."""
    return {key: np.zeros(x.shape, x.dtype) for key, x in batch_shapes(spec, batch_size).items()}


def model_inputs(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entries that a model reads at inference."""
    return {key: value for key, value in batch.items() if ENTRIES[key].reader == "model"}


def step_inputs(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entries that a training step reads: the model's and the losses'."""
    return {key: value for key, value in batch.items() if ENTRIES[key].reader != "host"}


def read(batch: Mapping[str, Any], key: str) -> Array:
    """Returns an entry of the batch.

    Raises:
        InputError: it is missing; the message gives its shape.
    """
    if key not in batch:
        raise InputError(f"the batch has no {key!r}, which this model reads: add it, of shape {ENTRIES[key].shape}")
    return jnp.asarray(batch[key])
