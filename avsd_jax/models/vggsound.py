"""VGGSound's audio network (Chen et al., ICASSP 2020) as a model of its own: waveform in, 309 classes of sound out."""

from collections.abc import Mapping

from flax import linen as nn
from jaxtyping import Array

from avsd_jax.models._bistream import read
from avsd_jax.nn.spectrogram import normalised_log_power
from avsd_jax.nn.vggsound import VGGSound


class Model(nn.Module):
    """ResNet-18, its pool and a dense layer; `audnet` is the encoder that STANet starts from.

    Attributes:
        pool: "vlad" or "avgpool", see `avsd_jax.nn.vggsound.VGGSound`.
        num_classes: kinds of sound.
        width: multiplies the channel counts.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    pool: str = "vlad"
    num_classes: int = 309
    width: float = 1.0
    axis_name: str | None = None
    hears = True

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Names the sound of each clip.

        Args:
            batch: audio [B, S], in [-1, 1] at 16 kHz (published: ten seconds), or spectrogram [B, F, N] made of it.
            train: use and update batch statistics.

        Returns:
            class_logits [B, num_classes], audio_features [B, D], the pool, and the trunk's layer1 ... layer4.

        Raises:
            InputError: neither key, or an unknown `pool`.
        """
        ready = "spectrogram" in batch
        spectrogram = batch["spectrogram"] if ready else normalised_log_power(read(batch, "audio"))
        taps = VGGSound(self.pool, self.width, self.axis_name, name="audnet")(spectrogram, train)
        pooled = taps.pop("pool")
        # The published file calls the layer by its pool.
        head = nn.Dense(self.num_classes, name="fc_" if self.pool == "vlad" else "fc")
        return {**taps, "audio_features": pooled, "class_logits": head(pooled)}
