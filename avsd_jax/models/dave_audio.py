"""DAVE's audio trunk as a model: an encoder of sounds that may be trained alone, to name what it hears."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from flax import linen as nn
from jaxtyping import Array

from avsd_jax.models.common import dave_parts
from avsd_jax.models.common.network import Network
from avsd_jax.nn.conv3d import Lowering
from avsd_jax.nn.resnet3d import DEPTHS_18


class Model(Network):
    """A 3-D ResNet-18 and its mean; its variables are DAVE's `audio_branch`.

    Attributes:
        clip_size, width, depths, lowering, norm_momentum, shortcut, detach_shortcut: see
            `avsd_jax.models.dave.Model`.
        num_tags: 0, or the number of tags that a head classifies from the audio. Officially there are 12 classes, as
            many as Speech Commands has.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    clip_size: int = 16
    width: float = 1.0
    depths: Sequence[int] = DEPTHS_18
    lowering: Lowering = "auto"
    norm_momentum: float = 0.9
    num_tags: int = 0
    shortcut: str = "A"
    detach_shortcut: bool = False
    axis_name: str | None = None
    uses_audio = True
    hears_frames = True
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({"sampler": "dave", "preprocessing": "dave"})

    def setup(self) -> None:
        """Shares the model's scope, so that the variables have no name prefix."""
        self.trunk = dave_parts.trunk(self)
        nn.share_scope(self, self.trunk)
        if self.num_tags:
            self.tag_head = nn.Dense(self.num_tags)

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Encodes the audio of each clip.

        Args:
            batch: what `avsd_jax.models.common.dave_parts.patches_of` takes.
            train: use and update batch statistics.

        Returns:
            audio_features [B, 1, C] and the taps stem and layer1 to layer4; with `num_tags` also heard_logits [B, K].

        Raises:
            InputError: no audio, or patches of another number or size.
        """
        taps = self.trunk(dave_parts.patches_of(batch, self.clip_size), train)
        vector = dave_parts.pooled(taps["layer4"])
        out = {**taps, "audio_features": vector}
        return out | ({"heard_logits": self.tag_head(vector[:, 0])} if self.num_tags else {})
