"""SoundNet (Aytar et al., NeurIPS 2016) as a model: audio features of a waveform."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from avsd_jax.batch import read
from avsd_jax.models.common.network import Network
from avsd_jax.nn.soundnet import SoundNet


class Model(Network):
    """SoundNet8's convolution blocks; its variables are AViNet's `audionet`.

    Attributes:
        clip_size: frames of the clips whose audio is read, for the data pipeline; the network takes any length.
        width: multiplies the channel counts.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
        num_tags: 0, or the number of tags that a head classifies from the audio. The published weights were
            pretrained in this way, with the output of an image network as the target.
    """

    clip_size: int = 32
    width: float = 1.0
    axis_name: str | None = None
    num_tags: int = 0
    uses_audio = True

    def setup(self) -> None:
        """Shares the model's scope, so that the variables have no name prefix."""
        self.encoder = SoundNet(self.width, axis_name=self.axis_name)
        nn.share_scope(self, self.encoder)
        if self.num_tags:
            self.tag_head = nn.Dense(self.num_tags)

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Encodes the audio of each clip.

        Args:
            batch: {"audio": [B, S]}, waveform times 256; other keys are ignored.
            train: use and update batch statistics.

        Returns:
            audio_features [B, N, C] and the blocks' outputs conv1 ... conv7; with `num_tags` also heard_logits [B, K].

        Raises:
            InputError: no audio, or too little of it.
        """
        taps = self.encoder(read(batch, "audio"), train)
        out = {"audio_features": taps["conv7"], **taps}
        return out | ({"heard_logits": self.tag_head(jnp.mean(taps["conv7"], axis=1))} if self.num_tags else {})
