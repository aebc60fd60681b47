"""STANet's first SoundSwitch (CVPR release): from the audio alone, does the sound belong to something visible?

Its authors trained it on mined labels: whether VGGSound's class of the audio matches the category of the video.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import ClassifierInputs
from avsd_jax.nn.resnet import ResNet18
from avsd_jax.nn.spectrogram import normalised_log_power
from avsd_jax.nn.width import scaled


class Classifier(nn.Module):
    """ResNet-18 on a spectrogram and three dense layers; the published network at the default options.

    The probability of class 1 is the soft switch by which the published STANet scales its audio mask.

    Attributes:
        width: multiplies the channel counts.
        sample_rate: of the waveform, Hz.
        audio_seconds: length of the waveform; the dense layers only fit this length.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    width: float = 1.0
    sample_rate: int = 16000
    audio_seconds: float = 0.5
    axis_name: str | None = None

    @property
    def inputs(self) -> ClassifierInputs:
        """Returns the spec of the audio; the frame, which every classifier gets, is unused and therefore small."""
        return ClassifierInputs(1, None, 8, self.sample_rate, self.audio_seconds)

    @nn.nowrap
    def front_end(self, waveform: Float[Array, "b s"]) -> Float[Array, "b f n"]:
        """Returns STANet's spectrogram, 257 x 48 for half a second; see `spectrogram.normalised_log_power`."""
        return normalised_log_power(waveform, self.sample_rate)

    @nn.compact
    def __call__(
        self, frames: Float[Array, "b n h w 3"], audio: Float[Array, "b f m"], train: bool = False
    ) -> Float[Array, "b 2"]:
        """Returns the logits of inconsistent (class 0) and consistent (class 1), neither below zero, as published.

        Args:
            frames: unused.
            audio: [B, F, N], a spectrogram from `front_end`.
            train: use and update batch statistics.
        """
        x = ResNet18(self.width, self.axis_name, name="layerA")(audio[..., None], train)["layer4"]
        # The published dense layer reads channels first.
        x = jnp.moveaxis(x, -1, 1).reshape(len(x), -1)
        for name, features in (("Afc1", scaled(4096, self.width)), ("Afc2", scaled(1024, self.width)), ("Afc3", 2)):
            x = nn.relu(nn.Dense(features, name=name)(x))
        return x
