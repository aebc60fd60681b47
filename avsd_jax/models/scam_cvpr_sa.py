"""SA of STANet's first release (CVPR 2021): classifies the tags of a frame, attending to its sound source."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.models.common import tag_classifiers
from avsd_jax.nn.conv2d import Deconv2D
from avsd_jax.nn.resize import resize_bilinear
from avsd_jax.nn.rfb import RFB
from avsd_jax.nn.width import scaled


class Model(tag_classifiers.Classifier):
    """ResNeXt and a receptive field block, masked by image and audio, a mean over locations and a linear layer.

    Attributes:
        num_tags: as in the base; the published network omits the last category of its data.
        others: see the base.
    """

    num_tags: int = 27
    uses_audio = True

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Classifies the tags of each frame.

        Args:
            batch: video [B, 1, H, W, 3], ImageNet-normalised; audio [B, S], the half second around the frame, in
                [-1, 1] at 16 kHz, or spectrogram [B, 257, 48] made of it; switch [B], the weight of the audio (1
                if there is no such key). Other keys are ignored.
            train: use and update batch statistics.

        Returns:
            See `avsd_jax.models.common.tag_classifiers`; also features [B, h, w, C], sound_map [B, 7, 7, C] and
            attention [B, h, w, 1], the mask before its sigmoid. The audio map is resized to the frame's if that is
            not 7 x 7, which it is for the published 224 pixels.

        Raises:
            InputError: a missing key, or more than a frame.
        """
        channels = scaled(128, self.width)
        seen = RFB(channels, name="layerV_down")(self.trunk(self.frames(batch), train, "layerV"))
        sound = self._unfold(self.encode_audio(batch, train, "layerA"), channels)
        attention = self._attend(resize_bilinear(sound, seen.shape[1:3]), seen)
        switch = batch["switch"] if "switch" in batch else jnp.ones(len(seen), seen.dtype)
        seen = nn.relu(switch[:, None, None, None] * nn.sigmoid(attention) * seen + seen)
        feature = self.deepest(nn.Conv(channels, (1, 1), name="Vatten_conv")(seen))
        out = {"features": feature, "sound_map": sound, "attention": attention}
        return out | tag_classifiers.class_activation_head(feature, self.num_tags, "fc")

    def _unfold(self, heard: Float[Array, "b d"], channels: int) -> Float[Array, "b 7 7 c"]:
        """Expands the audio vector to a map."""
        x = heard[:, None, None]
        for number in (1, 2, 3):
            x = Deconv2D(channels, 3, name=f"Aup{number}")(x)
        return x

    def _attend(self, sound: Float[Array, "b h w c"], seen: Float[Array, "b h w c"]) -> Float[Array, "b h w 1"]:
        x = nn.Conv(seen.shape[-1], (1, 1), name="atten_conv")(jnp.concatenate([sound, seen], axis=-1))
        return nn.Conv(1, (1, 1), name="attention")(x)
