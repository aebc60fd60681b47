"""Wav2CLIP's audio encoder (Wu et al., ICASSP 2022): ResNet-18 on log spectrograms, and two dense layers."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.resnet import ResNet18
from avsd_jax.nn.spectrogram import stft
from avsd_jax.nn.width import scaled

SAMPLE_RATE = 16_000
_WINDOW, _HOP = 512, 353


def log_power(waveforms: Float[Array, "*b n s"]) -> Float[Array, "*b n f t"]:
    """Computes log(power + 1e-7) with mean 0 and standard deviation 1 over all of the n waveforms together.

    So an embedding depends on what else is in the batch: the published code standardises all that it is given.

    Args:
        waveforms: at 16 kHz; n of them belong together.

    Raises:
        InputError: they are shorter than half a window.
    """
    *batch, number, samples = waveforms.shape
    flat = waveforms.reshape(-1, samples).astype(jnp.float32)
    # Published: torchaudio's spectrogram, whose ends are mirrored.
    spectrum = stft(flat, _WINDOW, _HOP, padding="reflect")
    power = jnp.log(jnp.square(jnp.real(spectrum)) + jnp.square(jnp.imag(spectrum)) + 1e-7)
    power = power.reshape(*batch, number, *power.shape[1:])
    deviation = power - jnp.mean(power, axis=(-3, -2, -1), keepdims=True)
    cells = number * power.shape[-2] * power.shape[-1]
    spread = jnp.sqrt(jnp.sum(jnp.square(deviation), axis=(-3, -2, -1), keepdims=True) / (cells - 1))
    return deviation / (spread + 1e-9)


class Wav2CLIP(nn.Module):
    """The encoder of spectrograms; its norms stay as they are, since it is published to be used as it is.

    Attributes:
        width: multiplies the channel counts, also that of the embedding, 512.
    """

    width: float = 1.0

    @nn.compact
    def __call__(self, spectrograms: Float[Array, "b f t"]) -> Float[Array, "b d"]:
        """Returns embeddings, which are not normalised.

        Args:
            spectrograms: as `log_power` makes them.
        """
        taps = ResNet18(self.width, name="trunk")(spectrograms[..., None], train=False)
        x: jax.Array = jnp.mean(taps["layer4"], axis=(1, 2))
        size = scaled(512, self.width)
        return nn.Dense(size, name="sequential_3")(nn.relu(nn.Dense(size, name="sequential_0")(x)))
