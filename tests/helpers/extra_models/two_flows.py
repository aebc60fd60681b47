"""A model that states two streams and nothing else."""

import jax.numpy as jnp
from flax import linen as nn

from avsd_jax.batch import read
from avsd_jax.models.common.bistream import BiStream


class Model(BiStream):
    """V is the video's four channels, AV fuses them with the loudness; the decoder adds channels and time up."""

    channels: int = 4

    def encode_visual(self, batch, train):
        v = nn.Conv(self.channels, (1, 1, 1), name="look")(read(batch, "video"))
        return {"looked": v}, v

    def fuse(self, v, features, batch, train):
        audio = read(batch, "audio")[:, :, None]
        return {"audio_features": audio, "fused": self.make_fusion()(v, audio, train)}

    def decode(self, feature, features, train):
        logits = jnp.sum(feature * nn.tanh(features["looked"]), axis=(1, 4))
        return {"dec_in": feature, "logits": logits, "saliency": nn.sigmoid(logits)}
