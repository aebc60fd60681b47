"""STANet's second SoundSwitch (releases of December 2021 and August 2022): does the audio belong to the frame?"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import ClassifierInputs
from avsd_jax.errors import InputError
from avsd_jax.nn.resnet import ResNeXt
from avsd_jax.nn.spectrogram import normalised_log_power
from avsd_jax.nn.vggsound import VGGSound
from avsd_jax.nn.width import scaled

RULES = ("threshold", "argmax")


class Bilinear(nn.Module):
    """A learned linear map of all products of two vectors' entries.

    Attributes:
        features: size of the result.
    """

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b i"], y: Float[Array, "b j"]) -> Float[Array, "b o"]:
        """Returns out[b, o] = sum_ij x[b, i] kernel[o, i, j] y[b, j] + bias[o]."""
        shape = (self.features, x.shape[-1], y.shape[-1])
        kernel = self.param("kernel", nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform", 1, 0), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return jnp.einsum("bi,oij,bj->bo", x, kernel.astype(x.dtype), y, precision=jax.lax.Precision.HIGHEST) + bias


class Classifier(nn.Module):
    """Bilinear product of VGGSound's and ResNeXt's reduced vectors; the published network at the default options.

    Attributes:
        width: multiplies the channel counts.
        depths: blocks of ResNeXt's stages.
        frame_size: height and width of the frame, pixels.
        sample_rate: of the waveform, Hz.
        audio_seconds: length of the waveform.
        rule: when a clip counts as consistent: "threshold", class 1's logit is above zero, as in the published
            scripts (the other logit is then zero at inference); "argmax", it is above class 0's, as in training.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    width: float = 1.0
    depths: Sequence[int] = (3, 4, 23, 3)
    frame_size: int = 356
    sample_rate: int = 16000
    audio_seconds: float = 0.5
    rule: str = "argmax"
    axis_name: str | None = None

    @property
    def inputs(self) -> ClassifierInputs:
        """Returns the spec of one frame and the audio around it."""
        return ClassifierInputs(1, None, self.frame_size, self.sample_rate, self.audio_seconds)

    @nn.nowrap
    def front_end(self, waveform: Float[Array, "b s"]) -> Float[Array, "b f n"]:
        """Returns STANet's spectrogram, 257 x 48 for half a second; see `spectrogram.normalised_log_power`."""
        return normalised_log_power(waveform, self.sample_rate)

    @nn.compact
    def __call__(
        self, frames: Float[Array, "b n h w 3"], audio: Float[Array, "b f m"], train: bool = False
    ) -> Float[Array, "b 2"]:
        """Returns the logits of inconsistent (class 0) and consistent (class 1).

        Args:
            frames: [B, 1, H, W, 3], ImageNet-normalised RGB.
            audio: [B, F, N], a spectrogram from `front_end`.
            train: use and update batch statistics.

        Raises:
            InputError: more than one frame, or an unknown rule.
        """
        if self.rule not in RULES:
            raise InputError(f"unknown rule {self.rule!r}: choose one of {', '.join(RULES)}")
        if frames.shape[1] != 1:
            raise InputError(f"soundswitch_av takes one frame and got {frames.shape[1]}: give [B, 1, H, W, 3]")
        features = scaled(128, self.width)
        heard = VGGSound("vlad", self.width, self.axis_name, name="layerA")(audio, train)["pool"]
        seen = ResNeXt(self.width, self.depths, self.axis_name, name="layerV")(frames[:, 0], train)
        seen = jnp.mean(list(seen.values())[-1], axis=(1, 2))
        heard, seen = nn.Dense(features, name="layerA_d")(heard), nn.Dense(features, name="layerV_d")(seen)
        logits = nn.Dense(2, name="fc")(Bilinear(features, name="bilinear")(heard, seen))
        return logits if train or self.rule == "argmax" else logits.at[:, 0].set(0)
