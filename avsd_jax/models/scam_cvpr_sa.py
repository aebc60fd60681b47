"""SA of STANet's first release (CVPR 2021): the classifier of what a frame shows where its sound points."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.models import _scam
from avsd_jax.nn.conv2d import Deconv2D
from avsd_jax.nn.resize import resize_bilinear
from avsd_jax.nn.resnet import ResNeXt
from avsd_jax.nn.rfb import RFB
from avsd_jax.nn.s3d import scaled
from avsd_jax.nn.vggsound import VGGSound


class Model(nn.Module):
    """ResNeXt and a receptive field block under a mask of picture and sound, a mean over places and a linear layer.

    Attributes:
        num_tags: K, how many tags it tells; the published network leaves out the last category of its data.
        width, depths, axis_name, norm_momentum: see `avsd_jax.nn.resnet.ResNeXt`; the width also scales the head and
            the audio encoder.
    """

    num_tags: int = 27
    width: float = 1.0
    depths: Sequence[int] = (3, 4, 23, 3)
    axis_name: str | None = None
    norm_momentum: float = 0.9
    hears = True

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Tells the tags of each frame.

        Args:
            batch: video [B, 1, H, W, 3], ImageNet-normalised; audio [B, S], the half second around the frame, in
                [-1, 1] at 16 kHz, or spectrogram [B, 257, 48] made of it; switch [B], how far the sound counts (1
                where there is no such key). Other keys are ignored.
            train: use and update batch statistics.

        Returns:
            See `avsd_jax.models._scam`; also features [B, h, w, C], sound_map [B, 7, 7, C] and attention
            [B, h, w, 1], the mask before its sigmoid. The sound's map is resized to the frame's where that is not
            7 x 7, which it is for the published 224 pixels.

        Raises:
            InputError: a missing key, or more than a frame.
        """
        frames = _scam.clip(batch, 1)[:, 0]
        trunk = ResNeXt(self.width, self.depths, self.axis_name, self.norm_momentum, name="layerV")
        channels = scaled(128, self.width)
        seen = RFB(channels, name="layerV_down")(list(trunk(frames, train).values())[-1])
        ear = VGGSound("vlad", self.width, self.axis_name, self.norm_momentum, name="layerA")
        sound = self._unfold(ear(_scam.spectrogram(batch), train)["pool"], channels)
        attention = self._attend(resize_bilinear(sound, seen.shape[1:3]), seen)
        switch = batch["switch"] if "switch" in batch else jnp.ones(len(seen), seen.dtype)
        seen = nn.relu(switch[:, None, None, None] * nn.sigmoid(attention) * seen + seen)
        feature = nn.Conv(channels, (1, 1), name="Vatten_conv")(seen)
        out = {"features": feature, "sound_map": sound, "attention": attention}
        return out | _scam.judged(feature, self.num_tags, "fc")

    def _unfold(self, heard: Float[Array, "b d"], channels: int) -> Float[Array, "b 7 7 c"]:
        """A map grown from the sound's vector."""
        x = heard[:, None, None]
        for number in (1, 2, 3):
            x = Deconv2D(channels, 3, name=f"Aup{number}")(x)
        return x

    def _attend(self, sound: Float[Array, "b h w c"], seen: Float[Array, "b h w c"]) -> Float[Array, "b h w 1"]:
        x = nn.Conv(seen.shape[-1], (1, 1), name="atten_conv")(jnp.concatenate([sound, seen], axis=-1))
        return nn.Conv(1, (1, 1), name="attention")(x)
