"""A classifier without weights: does any region of the picture change along with the audio?

It has nothing to learn, so it gates any model at once. The survey has no such row; see
`avsd_jax.handcrafted.fusion.moving_regions` for what is computed and where its constants come from.
"""

from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import ClassifierInputs
from avsd_jax.handcrafted.fusion import moving_regions


class Classifier(nn.Module):
    """Canonical correlation of the changes of regions with those of the audio's loudness.

    Attributes:
        learned: False: it has no weights.
        num_frames: frames of the clip.
        frame_rate: frames per second between them; the audio lasts as long as they do.
        frame_size: height and width of the frames, pixels.
        sample_rate: of the waveform, Hz.
        axis_name: there are no batch statistics, so that it has no effect.
    """

    learned = False

    num_frames: int = 62
    frame_rate: float = 25.0
    frame_size: int = 64
    sample_rate: int = 16000
    axis_name: str | None = None

    @property
    def inputs(self) -> ClassifierInputs:
        """Returns two and a half seconds of small frames and of audio."""
        seconds = self.num_frames / self.frame_rate
        return ClassifierInputs(self.num_frames, self.frame_rate, self.frame_size, self.sample_rate, seconds)

    @nn.nowrap
    def front_end(self, waveform: Float[Array, "b s"]) -> Float[Array, "b s"]:
        """Returns the waveform [B, S] in [-1, 1] itself."""
        return waveform

    @nn.nowrap
    def __call__(
        self, frames: Float[Array, "b n h w 3"], audio: Float[Array, "b s"], train: bool = False
    ) -> Float[Array, "b 2"]:
        """Returns logits [B, 2], class 1 = consistent.

        Args:
            frames: [B, N, H, W, 3], ImageNet-normalised RGB.
            audio: [B, S], the waveform.
            train: changes nothing.
        """
        del train
        return moving_regions.agreement(frames, audio).logits
