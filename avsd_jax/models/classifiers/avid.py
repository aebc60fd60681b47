"""AVID (Morgado et al., "Audio-visual instance discrimination", CVPR 2021) with a head that decides on consistency.

The survey's default classifier (section V-C). AVID itself is trained without labels and has no head; three are offered:

* `features` (H1, the default): the two encoders' pooled features, joined, into a hidden layer and a dense one, as the
  same first author evaluates correspondence (AVSpatialAlignment);
* `cosine` (H2): the cosine of the two projections, scaled and shifted; a score without any training;
* `embeddings` (H3): the two projections, joined, into a hidden layer and a dense one.

Layers and names follow facebookresearch/AVID-CMA (CC BY-NC 4.0), so that its weights load.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import ClassifierInputs
from avsd_jax.errors import InputError
from avsd_jax.nn.avid_spectrogram import log_power, normalise, num_bins
from avsd_jax.nn.conv3d import Lowering
from avsd_jax.nn.r2plus1d import TORCH_UNIFORM, R2Plus1D
from avsd_jax.nn.score import ScoreLogits
from avsd_jax.nn.spectrogram_convnet import SpectrogramConvNet
from avsd_jax.nn.vggsound import l2_normalise
from avsd_jax.nn.width import scaled

HEADS = ("features", "cosine", "embeddings")
PADDINGS = ("reflect", "constant")

# Temperature of AVID's training scores: cosines are divided by it.
_TEMPERATURE = 0.07


class Projection(nn.Module):
    """Three dense layers that project an encoder's features into the space where audio and video are compared.

    Attributes:
        hidden: features of the first two layers.
        features: of the last one.
    """

    hidden: int
    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b c"]) -> Float[Array, "b d"]:
        """Projects [B, C] to [B, features], not normalised."""
        for number, features in ((0, self.hidden), (2, self.hidden), (4, self.features)):
            x = nn.Dense(features, kernel_init=TORCH_UNIFORM, name=f"projection_{number}")(x)
            x = nn.relu(x) if number < 4 else x
        return x


class Classifier(nn.Module):
    """AVID; the published encoders, projections and front end with the default options.

    Attributes:
        head: "features", "cosine" or "embeddings"; see the module.
        dropout: share of the joined features that training drops before the head's hidden layer.
        width: multiplies the channel counts.
        num_frames: frames of the clip.
        frame_rate: frames per second between them.
        frame_size: height and width of the frames, pixels.
        sample_rate: of the waveform, Hz.
        audio_seconds: length of the waveform.
        n_fft: window and transform size of the spectrogram, samples, a multiple of 4 (1024, although AVID's
            configurations say 512).
        hop: samples between its windows.
        padding: of the waveform's ends: "reflect", as in training (librosa 0.7), or "constant", zeros (from 0.10 on).
        lowering: see `avsd_jax.nn.conv3d.conv3d`.
        norm_momentum: share of the running statistics that a step keeps; PyTorch's 0.1 is 0.9 here.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    head: str = "features"
    dropout: float = 0.5
    width: float = 1.0
    num_frames: int = 8
    frame_rate: float = 16.0
    frame_size: int = 224
    sample_rate: int = 24000
    audio_seconds: float = 2.0
    n_fft: int = 1024
    hop: int = 240
    padding: str = "reflect"
    lowering: Lowering = "auto"
    norm_momentum: float = 0.9
    axis_name: str | None = None

    @property
    def inputs(self) -> ClassifierInputs:
        """Returns half a second of frames and two seconds of audio, both centred on the classified moment."""
        return ClassifierInputs(self.num_frames, self.frame_rate, self.frame_size, self.sample_rate, self.audio_seconds)

    def setup(self) -> None:
        """Names the layers as the checkpoints do; the head's are those of AVSpatialAlignment."""
        if self.head not in HEADS:
            raise InputError(f"unknown head {self.head!r}: choose one of {', '.join(HEADS)}")
        options = {"width": self.width, "axis_name": self.axis_name, "norm_momentum": self.norm_momentum}
        self.video_model = R2Plus1D(**options, lowering=self.lowering)
        self.audio_model = SpectrogramConvNet(**options)
        hidden, features = scaled(512, self.width), scaled(128, self.width)
        self.video_proj = Projection(hidden, features)
        self.audio_proj = Projection(hidden, features)
        if self.head == "cosine":
            self.score = ScoreLogits(1 / _TEMPERATURE, 0.0)
        else:
            self.drop = nn.Dropout(self.dropout)
            self.classifier_0 = nn.Dense(hidden)
            self.classifier_2 = nn.Dense(2)

    @nn.nowrap
    def front_end(self, waveform: Float[Array, "b s"]) -> Float[Array, "b t f"]:
        """Returns AVID's normalised log-power spectrogram, time first; 200 x 257 at the default options.

        Args:
            waveform: [B, S] in [-1, 1] at `sample_rate`; cut, or filled with zeros at its end, to `audio_seconds`.
                Computed in float32, returned in the waveform's dtype.

        Raises:
            InputError: an unknown `padding`, `n_fft` is no multiple of 4, or `audio_seconds` are shorter than a window.
        """
        if self.padding not in PADDINGS:
            raise InputError(f"unknown padding {self.padding!r}: choose one of {', '.join(PADDINGS)}")
        if self.n_fft % 4:
            raise InputError(f"n_fft is {self.n_fft}: give a multiple of 4, as pairs of frequency bins are averaged")
        samples = self.inputs.audio_samples
        waveform = jnp.pad(waveform[:, :samples], ((0, 0), (0, max(0, samples - waveform.shape[1]))))
        decibels = log_power(waveform, self.n_fft, self.hop, self.padding)
        return normalise(decibels, self.sample_rate).astype(waveform.dtype)

    def embed(
        self, frames: Float[Array, "b n h w 3"], audio: Float[Array, "b t f"], train: bool = False
    ) -> dict[str, Float[Array, "b d"]]:
        """Returns the projections that AVID compares: video and audio [B, 128], not normalised.

        Args:
            frames: [B, N, H, W, 3], ImageNet-normalised RGB.
            audio: [B, T, F], a spectrogram from `front_end`; [B, F, T] is recognised by its number of bins.
            train: use and update batch statistics.

        Raises:
            InputError: the spectrogram has another number of frequency bins.
        """
        return self._project(self._encode(frames, audio, train))

    def __call__(
        self, frames: Float[Array, "b n h w 3"], audio: Float[Array, "b t f"], train: bool = False
    ) -> Float[Array, "b 2"]:
        """Returns logits of inconsistent (class 0) and consistent (class 1).

        Args:
            frames: [B, N, H, W, 3], ImageNet-normalised RGB.
            audio: [B, T, F], a spectrogram from `front_end`; [B, F, T] is recognised by its number of bins.
            train: use and update batch statistics, apply dropout.

        Raises:
            InputError: an unknown head, or the spectrogram has another number of frequency bins.
        """
        features = self._encode(frames, audio, train)
        # The projections' parameters exist for every head, so that one checkpoint serves all of them.
        if self.head != "features" or self.is_initializing():
            projected = self._project(features)
        if self.head == "cosine":
            video, audio = l2_normalise(projected["video"]), l2_normalise(projected["audio"])
            return self.score(jnp.sum(video * audio, axis=-1))
        chosen = features if self.head == "features" else projected
        x = jnp.concatenate([chosen["video"], chosen["audio"]], axis=-1)
        x = self.drop(x, deterministic=not train)
        return self.classifier_2(nn.relu(self.classifier_0(x)))

    def _encode(self, frames: Array, audio: Array, train: bool) -> dict[str, Float[Array, "b c"]]:
        """Returns the encoders' pooled features."""
        bins = num_bins(self.n_fft)
        if bins not in audio.shape[1:]:
            raise InputError(
                f"avid takes spectrograms of {bins} frequency bins and got {list(audio.shape)}: give what its "
                "front_end returns"
            )
        if audio.shape[-1] != bins:  # frequency first, as the other classifiers have it
            audio = audio.swapaxes(1, 2)
        return {
            "video": self.video_model(frames, train)["pool"],
            "audio": self.audio_model(audio, train)["pool"],
        }

    def _project(self, features: dict[str, Float[Array, "b c"]]) -> dict[str, Float[Array, "b d"]]:
        return {"video": self.video_proj(features["video"]), "audio": self.audio_proj(features["audio"])}
