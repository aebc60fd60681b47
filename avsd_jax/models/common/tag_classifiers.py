"""Shared parts of STANet's tag classifiers: their inputs, and the head of the releases of 2021 and 2022.

A class map is the evidence for one tag at every location; the score of a tag is its mean. The classifiers return

    tag_logits       [B, K] or [B, N, K]   trained scores of the clip, or of each of its N frames
    side_tag_logits  the same              trained scores of the maps before fusion, if there are any
    tag_scores       [B, K]                scores of the target frame by which the released scripts predict its tag
    class_maps       [B, h, w, K]          raw activation maps of the target frame, at the classifier's grid
"""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.models.common.network import Network
from avsd_jax.nn.conv_gru import ConvGRU
from avsd_jax.nn.resnet import ResNeXt
from avsd_jax.nn.spectrogram import normalised_log_power
from avsd_jax.nn.vggsound import VGGSound


class Classifier(Network):
    """The base of the tag classifiers.

    Attributes:
        num_tags: K, the number of tags.
        width, depths, axis_name, norm_momentum: see `avsd_jax.nn.resnet.ResNeXt`; the width scales the other parts too.
    """

    num_tags: int = 28
    width: float = 1.0
    depths: Sequence[int] = (3, 4, 23, 3)
    axis_name: str | None = None
    norm_momentum: float = 0.9

    def frames(self, batch: Mapping[str, Array], number: int = 1) -> Float[Array, "b_t h w 3"]:
        """Returns all frames of the batch's clips.

        Raises:
            InputError: there are none, or the clips have a different number of frames.
        """
        video = read(batch, "video")
        if video.shape[1] != number:
            raise InputError(f"video has {video.shape[1]} frames where this classifier takes {number}: give those")
        return video.reshape(-1, *video.shape[2:])

    def trunk(self, frames: Float[Array, "n h w 3"], train: bool, name: str) -> Float[Array, "n h2 w2 c"]:
        """Returns the last feature of ResNeXt, which becomes the submodule `name`.

        Raises:
            InputError: there are no tags.
        """
        if not self.num_tags:
            raise InputError("num_tags=0, and this classifier only classifies tags: give their number")
        trunk = ResNeXt(self.width, self.depths, self.axis_name, self.norm_momentum, name=name)
        return list(trunk(frames, train).values())[-1]

    def encode_audio(self, batch: Mapping[str, Array], train: bool, name: str) -> Float[Array, "b d"]:
        """Returns VGGSound's audio vector; the encoder becomes the submodule `name`.

        Reads `spectrogram` [B, F, N] if the batch has it, otherwise `audio` [B, S] in [-1, 1].
        """
        ready = "spectrogram" in batch
        heard = batch["spectrogram"] if ready else normalised_log_power(read(batch, "audio"))
        return VGGSound("vlad", self.width, self.axis_name, self.norm_momentum, name=name)(heard, train)["pool"]


class TripleClassifier(Classifier):
    """The base of the classifiers of three consecutive frames.

    Attributes:
        clip_size: 3, for the data pipeline.
    """

    clip_size: int = 3

    def triples(self, batch: Mapping[str, Array]) -> Float[Array, "b_t h w 3"]:
        """Returns all frames of the batch's triples.

        Raises:
            InputError: there are none, or the clips or the option have a different number of frames.
        """
        if self.clip_size != 3:
            raise InputError(f"this classifier takes 3 frames, not {self.clip_size}: set clip_size=3")
        return self.frames(batch, 3)


def score(maps: Float[Array, "*b h w k"]) -> Float[Array, "*b k"]:
    """Returns the mean of each class map."""
    return jnp.mean(maps, axis=(-3, -2))


class Fused(nn.Module):
    """Fuses two versions of the class maps and blends the result with the maps themselves.

    Attributes:
        size: kernel size of the fusing convolution.
    """

    size: int = 1

    @nn.compact
    def __call__(
        self, maps: Float[Array, "b h w k"], first: Float[Array, "b h w k"], second: Float[Array, "b h w k"]
    ) -> Float[Array, "b h w k"]:
        """Returns the fused class maps."""
        joined = nn.Conv(maps.shape[-1], (self.size, self.size), name="extra_conv_fusion")
        y = joined(jnp.concatenate([first, second], axis=-1))
        return ConvGRU(name="extra_ConvGRU")(y, maps)


class ClassMaps(nn.Module):
    """Class maps from a deep feature, by three convolutions.

    Attributes:
        num_tags: K.
        channels: of the convolutions.
    """

    num_tags: int
    channels: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w k"]:
        """Maps [B, h, w, I] to [B, h, w, K]."""
        for number in range(3):
            x = nn.relu(nn.Conv(self.channels, (3, 3), name=f"layer_{2 * number}")(x))
        return nn.Conv(self.num_tags, (1, 1), name="layer_6")(x)


def class_activation_head(
    features: Float[Array, "b h w c"], num_tags: int, name: str
) -> dict[str, Float[Array, "b ..."]]:
    """Applies the first release's head: a linear layer on the mean feature, which at each location gives class maps.

    Call it in a compact method of a module: the layer becomes a submodule called `name`.
    """
    layer = nn.Dense(num_tags, name=name)
    logits = layer(jnp.mean(features, axis=(1, 2)))
    maps = features @ layer.variables["params"]["kernel"].astype(features.dtype)
    return {"tag_logits": logits, "tag_scores": logits, "class_maps": jnp.float32(maps)}
