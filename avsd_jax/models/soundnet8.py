"""SoundNet (Aytar et al., NeurIPS 2016) as a model of its own: waveform in, audio features out."""

from collections.abc import Mapping

from flax import linen as nn
from jaxtyping import Array

from avsd_jax.errors import InputError
from avsd_jax.nn.soundnet import SoundNet


class Model(nn.Module):
    """SoundNet8's convolution blocks; the variables are those of AViNet's `audionet`.

    Attributes:
        width: multiplies the channel counts.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    width: float = 1.0
    axis_name: str | None = None

    def setup(self) -> None:
        """Shares the model's own scope, so that the variables carry no further name."""
        self.encoder = SoundNet(self.width, axis_name=self.axis_name)
        nn.share_scope(self, self.encoder)

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Encodes each clip's audio.

        Args:
            batch: {"audio": [B, S]}, waveform times 256; other keys are ignored.
            train: use and update batch statistics.

        Returns:
            audio_features [B, N, C] and the blocks' outputs conv1 ... conv7.

        Raises:
            InputError: no audio, or too little of it.
        """
        if "audio" not in batch:
            raise InputError("the batch has no audio: add the key 'audio', [B, S]")
        taps = self.encoder(batch["audio"], train)
        return {"audio_features": taps["conv7"], **taps}
