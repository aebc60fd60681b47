"""L3-Net (Arandjelovic & Zisserman, "Look, listen and learn", ICCV 2017): does this audio go with this frame?

Layers and names follow the public PyTorch port (kyuyeonpooh/objects-that-sound, BSD-3), so that its weights
load. There class 0 means "corresponds"; here class 1 does, as in the survey, and the import swaps the two. OpenL3's
audio encoder and its front ends are an option.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import ClassifierInputs
from avsd_jax.errors import InputError
from avsd_jax.nn import openl3
from avsd_jax.nn.norm import BatchNorm
from avsd_jax.nn.pool import max_pool
from avsd_jax.nn.spectrogram import power_density
from avsd_jax.nn.width import scaled

# The port computes spectrograms of 16-bit sample values and divides decibels by this constant.
_FULL_SCALE = 32768.0
_FLOOR = 1e-7
_DECIBELS = 26.68

AUDIO_ENCODERS = ("l3net", *openl3.FRONT_ENDS)


class Tower(nn.Module):
    """Four blocks of two 3x3 convolutions with max-pooling between them, and a global max-pool.

    Attributes:
        stride: of the first convolution.
        width: multiplies the channel counts (see `avsd_jax.nn.width.scaled`).
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    stride: int
    width: float
    axis_name: str | None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> dict[str, Float[Array, "b ..."]]:
        """Returns the map after each block, block1 ... block4 [B, H', W', C], and the embedding [B, C]."""
        maps = {}
        for block, channels in enumerate((64, 128, 256, 512), start=1):
            for layer in (1, 2):
                stride = self.stride if (block, layer) == (1, 1) else 1
                conv = nn.Conv(
                    scaled(channels, self.width),
                    (3, 3),
                    stride,
                    1,
                    kernel_init=nn.initializers.he_normal(),
                    name=f"conv{block}_{layer}",
                )
                # Flax's momentum: PyTorch's 0.1 is 0.9 here.
                norm = BatchNorm(momentum=0.9, epsilon=1e-5, axis_name=self.axis_name, name=f"bn{block}_{layer}")
                x = nn.relu(norm(conv(x), use_running_average=not train)).astype(x.dtype)
            x = max_pool(x[:, None], (1, 2, 2), (1, 2, 2))[:, 0] if block < 4 else x
            maps[f"block{block}"] = x
        return {**maps, "embedding": jnp.max(x, axis=(1, 2))}


class Classifier(nn.Module):
    """L3-Net; with the default options the network and front end of the public port.

    Attributes:
        stride: of the first convolutions: 2 as in the port (and "Objects that Sound"), 1 as in the L3-Net
            paper.
        width: multiplies the channel counts.
        frame_size: height and width of the frame, pixels.
        sample_rate: of the waveform, Hz.
        audio_seconds: length of the waveform.
        nperseg, noverlap, nfft: window, overlap and transform size of the spectrogram, samples; OpenL3 has its own.
        audio_encoder: "l3net", or OpenL3's with one of its spectrograms: "openl3_linear", "openl3_mel128" or
            "openl3_mel256".
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    stride: int = 2
    width: float = 1.0
    frame_size: int = 224
    sample_rate: int = 48000
    audio_seconds: float = 1.0
    nperseg: int = 480
    noverlap: int = 240
    nfft: int = 512
    audio_encoder: str = "l3net"
    axis_name: str | None = None

    @property
    def inputs(self) -> ClassifierInputs:
        """Returns the spec of one frame and the audio around it."""
        return ClassifierInputs(1, None, self.frame_size, self.sample_rate, self.audio_seconds)

    @nn.nowrap
    def front_end(self, waveform: Float[Array, "b s"]) -> Float[Array, "b f n"]:
        """Returns the log spectrogram of the waveform, frequency first; 257 x 199 per second at the default options.

        OpenL3's are those of `avsd_jax.nn.openl3.spectrogram`.

        Args:
            waveform: [B, S] in [-1, 1] at `sample_rate`. Computed in float32, returned in the waveform's
                dtype.

        Raises:
            InputError: the waveform is shorter than a window, or an unknown `audio_encoder`.
        """
        self._check_audio_encoder()
        if self.audio_encoder != "l3net":
            return openl3.spectrogram(waveform, self.sample_rate, self.audio_encoder).astype(waveform.dtype)
        samples = waveform.astype(jnp.float32) * _FULL_SCALE
        density = power_density(samples, self.sample_rate, self.nperseg, self.noverlap, self.nfft)
        return (10 * jnp.log10(density + _FLOOR) / _DECIBELS).astype(waveform.dtype)

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
            InputError: more than one frame, or an unknown `audio_encoder`.
        """
        x = jnp.concatenate(self.encode(frames, audio, train), axis=-1)
        x = nn.relu(nn.Dense(scaled(128, self.width), name="fc1")(x))
        return nn.Dense(2, name="fc2")(x)

    def encode(
        self, frames: Float[Array, "b n h w 3"], audio: Float[Array, "b f m"], train: bool
    ) -> tuple[Float[Array, "b c"], Float[Array, "b d"]]:
        """Returns the embeddings of image and audio; to be called by `__call__`."""
        if frames.shape[1] != 1:
            name = type(self).__module__.rpartition(".")[2]
            raise InputError(f"{name} takes one frame and got {frames.shape[1]}: give avc_frames [B, 1, H, W, 3]")
        self._check_audio_encoder()
        image = Tower(self.stride, self.width, self.axis_name, name="icn")
        if self.audio_encoder == "l3net":
            audio_tower = Tower(self.stride, self.width, self.axis_name, name="acn")
        else:
            audio_tower = openl3.OpenL3Audio(self.width, self.axis_name, name="acn")
        return image(frames[:, 0], train)["embedding"], audio_tower(audio[..., None], train)["embedding"]

    @nn.nowrap
    def _check_audio_encoder(self) -> None:
        if self.audio_encoder not in AUDIO_ENCODERS:
            raise InputError(f"unknown audio_encoder {self.audio_encoder!r}: choose one of {', '.join(AUDIO_ENCODERS)}")
