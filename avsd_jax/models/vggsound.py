"""VGGSound's audio network (Chen et al., ICASSP 2020) as a model: 309 sound classes of a waveform."""

from collections.abc import Mapping

from flax import linen as nn
from jaxtyping import Array

from avsd_jax.batch import read
from avsd_jax.models.common.network import Network
from avsd_jax.nn.spectrogram import normalised_log_power
from avsd_jax.nn.vggsound import VGGSound


class Model(Network):
    """ResNet-18, its pool and a dense layer; the encoder's variables are STANet's `audio_model`.

    Attributes:
        pool: "vlad" or "avgpool", see `avsd_jax.nn.vggsound.VGGSound`.
        num_classes: number of sound classes.
        width: multiplies the channel counts.
        clip_size: frames of the clips whose audio is read, for the data pipeline; the network takes any length.
        num_tags: 0, or the number of tags that a head classifies from the audio, instead of the classes.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    pool: str = "vlad"
    num_classes: int = 309
    width: float = 1.0
    clip_size: int = 3
    num_tags: int = 0
    axis_name: str | None = None
    uses_audio = True

    def setup(self) -> None:
        """Shares the model's scope, so that the encoder's variables have no name prefix."""
        self.encoder = VGGSound(self.pool, self.width, self.axis_name)
        nn.share_scope(self, self.encoder)
        if self.num_tags:
            self.tag_head = nn.Dense(self.num_tags)
        elif self.pool == "vlad":
            self.fc_ = nn.Dense(self.num_classes)
        else:
            self.fc = nn.Dense(self.num_classes)

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Classifies the audio of each clip.

        Args:
            batch: audio [B, S], in [-1, 1] at 16 kHz (published: ten seconds), or spectrogram [B, F, N] made of it.
            train: use and update batch statistics.

        Returns:
            audio_features [B, D], the pool, the trunk's layer1 ... layer4, and class_logits [B, num_classes] or
            heard_logits [B, num_tags].

        Raises:
            InputError: neither key, or an unknown `pool`.
        """
        ready = "spectrogram" in batch
        spectrogram = batch["spectrogram"] if ready else normalised_log_power(read(batch, "audio"))
        taps = self.encoder(spectrogram, train)
        pooled = taps.pop("pool")
        out = {**taps, "audio_features": pooled}
        if self.num_tags:
            return out | {"heard_logits": self.tag_head(pooled)}
        # In the published files the name of the layer depends on the pool.
        return out | {"class_logits": (self.fc_ if self.pool == "vlad" else self.fc)(pooled)}
