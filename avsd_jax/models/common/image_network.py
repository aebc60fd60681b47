"""The base of models that map single images: a clip is one frame."""

from collections.abc import Mapping

from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.models.common.network import Network


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
