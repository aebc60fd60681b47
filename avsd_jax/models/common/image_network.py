"""The base of models that map single images: a clip is one frame."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.models.common.network import Network
from avsd_jax.nn.resize import resize_bilinear


class ImageNetwork(Network):
    """A model of clips of one frame."""

    def images(self, batch: Mapping[str, Array]) -> Float[Array, "b h w 3"]:
        """Returns the frame of each clip.

        Raises:
            InputError: there is no video, or its clips have several frames.
        """
        video = read(batch, "video")
        if video.shape[1] != 1:
            raise InputError(f"video has {video.shape[1]} frames where this model maps single ones: give clips of 1")
        return video[:, 0]


def grid_outputs(
    score: Float[Array, "b h w 1"], size: tuple[int, int], train: bool
) -> dict[str, Float[Array, "b _ _"]]:
    """Returns the outputs of a map that is learned without a target, on the grid of the features.

    See `avsd_jax.models.common.mws_layers.MWSNetwork.encode`.
    """
    score = score.astype(jnp.float32)
    if train:
        return {"grid_logits": score[..., 0]}
    logits = resize_bilinear(score, size)[..., 0]
    return {"saliency": nn.sigmoid(logits), "logits": logits, "grid_logits": score[..., 0]}
