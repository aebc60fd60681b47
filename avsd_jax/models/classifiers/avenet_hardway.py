"""AVENet of "Localizing visual sounds the hard way" (Chen et al., CVPR 2021), as a classifier.

The published network compares every position of the image with the audio and is trained on whole batches
(`contrastive_logits`); it does not classify single pairs. Here the largest similarity in the image is the score, which
a learned scale and shift turn into two logits; they start from the published threshold and temperature of the positive
mask.
Layers and names follow hche11/Localizing-Visual-Sounds-the-Hard-Way (Apache-2.0), so that its weights load.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import ClassifierInputs
from avsd_jax.errors import InputError
from avsd_jax.nn.resnet import ResNet18
from avsd_jax.nn.score import ScoreLogits
from avsd_jax.nn.spectrogram import power_density
from avsd_jax.nn.vggsound import l2_normalise

# Similarities above the first threshold are of the source, below the second of the background; soft by the temperature.
POSITIVE, NEGATIVE, SOFTNESS = 0.65, 0.4, 0.03
# So the score's logit starts as the positive mask at the most similar position.
SCALE, SHIFT = 1 / SOFTNESS, -POSITIVE / SOFTNESS
_TEMPERATURE = 0.07
# Removes a pair's own similarity from those to other pairs of the batch.
_OWN = -99.0

# Log powers are divided by it.
_LOG_SCALE = 12.0
_FLOOR = 1e-7


class Classifier(nn.Module):
    """Two ResNet-18s whose last layer keeps the size of the one before.

    Attributes:
        width: multiplies the channel counts.
        frame_size: height and width of the frame, pixels.
        sample_rate: of the waveform, Hz.
        audio_seconds: length of the waveform.
        nperseg, noverlap, nfft: window, overlap and transform size of the spectrogram, samples.
        norm_momentum: share of the running statistics that a step keeps; PyTorch's 0.1 is 0.9 here.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    width: float = 1.0
    frame_size: int = 224
    sample_rate: int = 16000
    audio_seconds: float = 10.0
    nperseg: int = 512
    noverlap: int = 274
    nfft: int = 512
    norm_momentum: float = 0.9
    axis_name: str | None = None

    @property
    def inputs(self) -> ClassifierInputs:
        """Returns one frame and the audio around it."""
        return ClassifierInputs(1, None, self.frame_size, self.sample_rate, self.audio_seconds)

    def setup(self) -> None:
        """Names the layers as the checkpoints do."""
        options = {"width": self.width, "axis_name": self.axis_name, "norm_momentum": self.norm_momentum}
        self.imgnet = ResNet18(**options, last_stride=1)
        self.audnet = ResNet18(**options, last_stride=1)
        self.score = ScoreLogits(SCALE, SHIFT)

    @nn.nowrap
    def front_end(self, waveform: Float[Array, "b s"]) -> Float[Array, "b f n"]:
        """Returns the log spectrogram of the waveform, frequency first; 257 x 671 at the default options.

        Args:
            waveform: [B, S] at `sample_rate`; clipped to [-1, 1]. Computed in float32, returned in the waveform's
                dtype.

        Raises:
            InputError: the waveform is shorter than `nperseg`.
        """
        samples = jnp.clip(waveform.astype(jnp.float32), -1, 1)
        density = power_density(samples, self.sample_rate, self.nperseg, self.noverlap, self.nfft)
        return (jnp.log(density + _FLOOR) / _LOG_SCALE).astype(waveform.dtype)

    def embed(
        self, frames: Float[Array, "b n h w 3"], audio: Float[Array, "b f m"], train: bool = False
    ) -> dict[str, Float[Array, "b ..."]]:
        """Returns the features that are compared, of unit length: image [B, H/16, W/16, 512] and audio [B, 512].

        Args:
            frames: [B, 1, H, W, 3], ImageNet-normalised RGB.
            audio: [B, F, N], a spectrogram from `front_end`.
            train: use and update batch statistics.

        Raises:
            InputError: more than one frame.
        """
        if frames.shape[1] != 1:
            raise InputError(
                f"avenet_hardway takes one frame and got {frames.shape[1]}: give avc_frames [B, 1, H, W, 3]"
            )
        image = self.imgnet(frames[:, 0], train)["layer4"]
        features = self.audnet(audio[..., None], train)["layer4"]
        return {"image": l2_normalise(image), "audio": l2_normalise(features.max(axis=(1, 2)))}

    def __call__(
        self, frames: Float[Array, "b n h w 3"], audio: Float[Array, "b f m"], train: bool = False
    ) -> Float[Array, "b 2"]:
        """Returns the logits of inconsistent (class 0) and consistent (class 1); see `embed` for the arguments."""
        features = self.embed(frames, audio, train)
        similarity = jnp.einsum("bhwc,bc->bhw", features["image"], features["audio"])
        return self.score(similarity.max(axis=(1, 2)))


def contrastive_logits(image: Float[Array, "b h w c"], audio: Float[Array, "b c"]) -> Float[Array, "b k"]:
    """Returns the published training's logits, K = B + 2, of which class 0 is right.

    For each pair: its similarity at its source, that of its image to the audio of every pair of the batch (its own
    pushed far down), and its similarity in the background. The masks of source and background are soft.

    Args:
        image: features of unit length at each position.
        audio: features of unit length.
    """
    similarity = jnp.einsum("bhwc,kc->bkhw", image, audio)
    source = jax.nn.sigmoid((similarity - POSITIVE) / SOFTNESS)
    at_source = _masked_mean(similarity, source)
    own = jnp.diagonal(similarity).transpose(2, 0, 1)[:, None]
    background = 1 - jax.nn.sigmoid((own - NEGATIVE) / SOFTNESS)
    others = at_source * jnp.where(jnp.eye(len(image), dtype=bool), _OWN, 1.0)
    logits = [jnp.diagonal(at_source)[:, None], others, _masked_mean(own, background)]
    return jnp.concatenate(logits, axis=1) / _TEMPERATURE


def _masked_mean(x: Float[Array, "b k h w"], mask: Float[Array, "b k h w"]) -> Float[Array, "b k"]:
    return jnp.sum(x * mask, axis=(2, 3)) / jnp.sum(mask, axis=(2, 3))
