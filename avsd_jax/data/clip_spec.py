"""The specification of a model's clips."""

import dataclasses

from avsd_jax.batch import ClassifierInputs
from avsd_jax.data.preprocessing.vinet import Preprocessing
from avsd_jax.data.samplers import sequence
from avsd_jax.data.samplers.vinet import Sampler


@dataclasses.dataclass(frozen=True)
class ClipSpec:
    """The clips that a model reads.

    Attributes:
        clip_size: frames of a clip.
        frame_size: (height, width) of the model's frames and maps, pixels.
        frame_step: distance between a clip's frames, in frames of the video. A model of sequences maps every frame all
            the same: see `phases`.
        sampler: selects clips; see `avsd_jax.data.samplers.create`.
        preprocessing: converts them to arrays; see `avsd_jax.data.preprocessing.create`.
        flip: whether half of the training clips, drawn at random, are mirrored, their maps with them.
        samples_per_video: clips drawn from each video (each `train_items` of it) per epoch.
        avc: the classifier's frame/audio sampling (`classifier.inputs`), or None without a classifier.
        audio: whether the model uses audio.
        tags: the words whose presence among a video's tags is the entry `tags`.
        avc_supervision: the labels of training clips: those of their frames ("labels"), or which audio the classifier
            gets ("weak", see `avsd_jax.data.weak_pairs`).
        instances: number of training videos that the model remembers one by one; 0 without such a memory.
        num_maps: of how many frames of a clip, from its first one on, there is a map; 0: of the target alone.
        map_stride: ratio of the frame's size to that of the maps.
        carries: whether a clip's maps depend on the clip before.
    """

    clip_size: int
    frame_size: tuple[int, int]
    frame_step: int = 1
    sampler: Sampler = Sampler()
    preprocessing: Preprocessing = Preprocessing()
    flip: bool = False
    samples_per_video: int = 1
    avc: ClassifierInputs | None = None
    audio: bool = True
    tags: tuple[str, ...] = ()
    avc_supervision: str = "labels"
    instances: int = 0
    num_maps: int = 0
    map_stride: int = 1
    carries: bool = False

    @property
    def eval_sampler(self) -> Sampler:
        """Returns the sampler of evaluation and prediction."""
        return sequence.Sampler() if self.num_maps else self.sampler

    @property
    def phases(self) -> int:
        """Returns how many sequences the frames of a video are, each of every `frame_step`-th frame."""
        return self.frame_step if self.num_maps else 1

    @property
    def num_mapped(self) -> int:
        """Returns how many consecutive frames the next clips of all phases map; 0: each clip maps its target alone."""
        return self.num_maps * self.phases

    @property
    def map_size(self) -> tuple[int, int]:
        """Returns (height, width) of the model's maps."""
        height, width = self.frame_size
        return height // self.map_stride, width // self.map_stride

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Returns the shape of a clip's targets: of one map, or of all maps of a sequence."""
        return (self.num_maps, *self.map_size) if self.num_maps else self.map_size

    @property
    def audio_samples(self) -> int:
        """Returns the length of the model's audio buffer."""
        return self.preprocessing.audio_samples(self.clip_size)

    @property
    def audio_shape(self) -> tuple[int, ...]:
        """Returns the shape of a clip's audio: one buffer, or one of each frame."""
        return (self.clip_size, self.audio_samples) if self.preprocessing.frame_audio else (self.audio_samples,)
