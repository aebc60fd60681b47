"""ACLNet (Wang et al., "Revisiting video saliency", CVPR 2018 and PAMI 2019): VGG16, attention, a ConvLSTM.

Each frame ─> VGG16, stride 8 ─> x ─┬─> pooled twice, 1 x 1 map ─> attention [h/4] ─┐
                                    └──────────── x (1 + attention) <───────────────┘
                                               └─> ConvLSTM over the frames ─> 1 x 1 map ─> saliency [h/2]

The state of the ConvLSTM passes from clip to clip of a video.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.models.common.network import Network
from avsd_jax.nn.conv_lstm import ConvLSTM2D
from avsd_jax.nn.resize import resize_bilinear
from avsd_jax.nn.vgg16 import VGG16
from avsd_jax.nn.width import scaled

# The trunk's stride times that of the attention.
_STRIDE = 32


class Model(Network):
    """ACLNet; the published network at width 1 and 256 x 320, of any size in multiples of 32.

    Attributes:
        clip_size: frames of a clip, all of which are mapped; published: 5.
        width: multiplies every channel count but the input's and outputs'.
        dropout: share of the ConvLSTM's inputs that training drops.
        attention: whether features are amplified where the attention is; it is computed in either case.
        upsampling: of the maps: "nearest", as published, or "bilinear".
        axis_name: unused, as there are no batch statistics.
    """

    clip_size: int = 5
    width: float = 1.0
    dropout: float = 0.4
    attention: bool = True
    upsampling: str = "nearest"
    axis_name: str | None = None
    map_stride = 2
    carries = True
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"sampler": "sequence", "preprocessing": "aclnet", "frame_size": (256, 320)}
    )

    @property
    def num_maps(self) -> int:
        """Returns the number of frames: every one has a map."""
        return self.clip_size

    @nn.compact
    def __call__(self, batch: Mapping[str, Any], train: bool = False) -> dict[str, Any]:
        """Predicts a map for each frame.

        Args:
            batch: {"video": [B, T, H, W, 3]}, as `avsd_jax.data.preprocessing.aclnet` makes them; optionally
                {"carry": ...}, what the clip before returned.
            train: apply dropout.

        Returns:
            saliency [B, T, H/2, W/2] in [0, 1] and its logits; attention [B, T, H/4, W/4] in [0, 1]; carry, the state
            of the ConvLSTM after the last frame.

        Raises:
            InputError: height or width is no multiple of 32, or an unknown upsampling.
        """
        video = read(batch, "video")
        clips, frames, height, width = video.shape[:4]
        if height % _STRIDE or width % _STRIDE:
            raise InputError(f"frames have {height}x{width} pixels: give aclnet multiples of {_STRIDE}")
        if self.upsampling not in ("nearest", "bilinear"):
            raise InputError(f"unknown upsampling {self.upsampling!r} of aclnet: choose nearest or bilinear")
        trunk = VGG16(self.width, pool_strides=(2, 2, 2, 1), name="vgg")
        x = trunk(video.reshape(-1, *video.shape[2:]))["conv5"]
        attention = self._attend(x)
        if self.attention:
            x = x * (1 + _repeated(attention, 4))
        lstm = ConvLSTM2D(scaled(256, self.width), dropout=self.dropout, name="conv_lst_m2d")
        carry = batch.get("carry")
        x, carry = lstm(x.reshape(clips, frames, *x.shape[1:]), None if carry is None else tuple(carry), train)
        logits = nn.Conv(1, (1, 1), name="readout")(x.reshape(-1, *x.shape[2:])).astype(jnp.float32)

        def finished(maps: Float[Array, "n h w 1"], factor: int) -> Float[Array, "b t h2 w2"]:
            larger = self._upsampled(maps.astype(jnp.float32), factor)[..., 0]
            return larger.reshape(clips, frames, *larger.shape[1:])

        return {
            "saliency": finished(nn.sigmoid(logits), 4),
            "logits": finished(logits, 4),
            "attention": finished(attention, 2 * 4),
            "carry": carry,
        }

    def _attend(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h4 w4 1"]:
        """Returns the attention of the deepest features."""
        for number, (features, size) in enumerate(((64, 1), (128, 3), (64, 1), (128, 3)), 1):
            if number % 2:
                x = nn.max_pool(x, (2, 2), (2, 2))
            x = nn.relu(nn.Conv(scaled(features, self.width), (size, size), name=f"att_conv{number}")(x))
        return nn.sigmoid(nn.Conv(1, (1, 1), name="att_conv5")(x))

    def _upsampled(self, maps: Float[Array, "n h w 1"], factor: int) -> Float[Array, "n h2 w2 1"]:
        if self.upsampling == "nearest":
            return _repeated(maps, factor)
        size = maps.shape[1] * factor, maps.shape[2] * factor
        return resize_bilinear(maps, size)


def _repeated(x: Float[Array, "n h w c"], factor: int) -> Float[Array, "n h2 w2 c"]:
    return jnp.repeat(jnp.repeat(x, factor, axis=1), factor, axis=2)
