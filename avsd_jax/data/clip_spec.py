"""What a model reads of a video: the specification of its clips."""

import dataclasses
import functools
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

from avsd_jax.batch import ClassifierInputs
from avsd_jax.common.by_name import load_module, with_options


@dataclasses.dataclass(frozen=True)
class ClipSpec:
    """What a model reads.

    Attributes:
        clip_size: frames of a clip.
        frame_size: (height, width) of the model's frames and maps, pixels.
        frame_step: distance between a clip's frames, in frames of the video.
        sampler: module of `avsd_jax.data.samplers` that chooses clips.
        preprocessing: module of `avsd_jax.data.preprocessing` that prepares them.
        sampler_options: keyword-only parameters of the sampler's functions.
        preprocessing_options: keyword-only parameters of the preprocessing's functions.
        flip: whether half of the training clips, drawn at random, are mirrored, their maps with them.
        samples_per_video: clips drawn from each video (each `train_items` of it) per epoch.
        avc: the classifier's clock (`classifier.inputs`), or None without a classifier.
        audio: whether the model hears.
        tags: the words whose presence among a video's tags an example tells.
    """

    clip_size: int
    frame_size: tuple[int, int]
    frame_step: int = 1
    sampler: str = "vinet"
    preprocessing: str = "vinet"
    sampler_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    preprocessing_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    flip: bool = False
    samples_per_video: int = 1
    avc: ClassifierInputs | None = None
    audio: bool = True
    tags: tuple[str, ...] = ()

    @property
    def audio_samples(self) -> int:
        """Length of the model's sound buffer."""
        return self.preparation.audio_samples(self.clip_size)

    @functools.cached_property
    def sampling(self) -> ModuleType | SimpleNamespace:
        """The sampler's functions."""
        module = load_module("avsd_jax.data.samplers", self.sampler, "sampler")
        return with_options(module, self.sampler_options, "sampler")

    @functools.cached_property
    def preparation(self) -> ModuleType | SimpleNamespace:
        """The preprocessing's functions."""
        module = load_module("avsd_jax.data.preprocessing", self.preprocessing, "preprocessing")
        return with_options(module, self.preprocessing_options, "preprocessing")
