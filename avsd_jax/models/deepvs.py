"""DeepVS (Jiang et al., ECCV 2018): objectness and motion (OM-CNN) in each frame, a two-layer ConvLSTM over frames.

frame t     ─> YOLO-tiny ─> 5 levels at h/16 x radial mask ─┬─> coarse map [h/4]
                                                            │        └─> in [0.5, 1], times the first levels of
frame t + 5 ─┐                                              ├─> join   FlowNet-S <─ frames t and t + 5
             └──────────────────────────────────────────────│───────────┘ ─> 4 levels at h/16
                                                            └─> 2C-LSTM over t ─> map [h/4]

The names of the parts are those of the released checkpoint.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.models.common.network import Network
from avsd_jax.nn.conv2d import Deconv2D
from avsd_jax.nn.conv_lstm import TwoCellLSTM
from avsd_jax.nn.norm import BatchNorm
from avsd_jax.nn.resize import resize_bilinear, resize_corner
from avsd_jax.nn.width import scaled

# The deepest feature's stride, and the common one of all levels.
_DEEPEST, _COMMON = 64, 16
_EPSILON = 1e-7
# Of YOLO's cells: two boxes of five numbers and twenty classes.
_CELL = 30
# Layers with a batch norm, each followed by a maximum over 2 x 2, and their channels.
_TRUNK = {1: 16, 3: 32, 5: 64, 7: 128, 9: 256, 11: 512}


class Model(Network):
    """DeepVS; the released network at width 1 and 448 x 448. Frames of another size have another dense layer.

    Attributes:
        clip_size: frames that are read; the first clip_size - gap of them are mapped. Released: 21 and 16.
        gap: distance to the frame with which motion is computed.
        width: multiplies every channel count but the input's, the outputs' and that of YOLO's cells.
        demo_gate_scale: factor on the 2C-LSTM's gates at inference. In the released demo 4, as it builds the graph, and
            divides by 0.25, before it sets the share of kept entries to 1; as intended 1.
        half_pixel: whether levels are resized from the centres of pixels; the released code, on TensorFlow 1, does not.
        centred_mask: whether the radial mask is centred; the released one is zero at the first corner alone.
        channel_first: whether YOLO's dense layer gets the deepest feature in the order (c, h, w), as released.
        keep: probability with which training keeps an entry in the 2C-LSTM.
        mask_samples: draws of which its masks are means.
        frozen_frames: stage 2 of the training: OM-CNN runs as at inference, and no gradient reaches it.
        norm_momentum: share of the running statistics that a step keeps.
        axis_name: the pmap axis over which batch statistics are averaged.
    """

    clip_size: int = 21
    gap: int = 5
    width: float = 1.0
    demo_gate_scale: float = 4.0
    half_pixel: bool = False
    centred_mask: bool = False
    channel_first: bool = True
    keep: float = 0.75
    mask_samples: int = 100
    frozen_frames: bool = False
    norm_momentum: float = 0.99
    axis_name: str | None = None
    map_stride = 4
    # The recurrent kernels never reach the released optimiser, which takes the layers that have a bias.
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "sampler": "sequence",
            "preprocessing": "deepvs",
            "frame_size": (448, 448),
            "rates": ((r"^lstm_layer\d/h\d/", 0.0), ("", 1.0)),
        }
    )

    @property
    def frozen(self) -> bool:
        """Returns whether OM-CNN is frozen."""
        return self.frozen_frames

    @property
    def num_maps(self) -> int:
        """Returns the number of frames that have a frame `gap` later in the clip."""
        return max(1, self.clip_size - self.gap)

    @nn.compact
    def __call__(self, batch: Mapping[str, Any], train: bool = False) -> dict[str, Array]:
        """Predicts a map for each of the first frames.

        Args:
            batch: {"video": [B, clip_size, H, W, 3]}, RGB in [-1, 1].
            train: apply dropout, use and update batch statistics.

        Returns:
            saliency [B, T, H/4, W/4] and coarse, OM-CNN's coarse map, each map min-max normalised; logits, not
            normalised; T = clip_size - gap.

        Raises:
            InputError: height or width is no multiple of 64, or the clip has another number of frames.
        """
        video = read(batch, "video")
        clips, frames, height, width = video.shape[:4]
        if height % _DEEPEST or width % _DEEPEST:
            raise InputError(f"frames have {height}x{width} pixels: give deepvs multiples of {_DEEPEST}")
        if frames != self.clip_size or not 0 < self.gap < self.clip_size:
            raise InputError(
                f"video has {frames} frames: give clips of clip_size={self.clip_size}, more than gap={self.gap}"
            )
        now, later = video[:, : self.num_maps], video[:, self.gap :]
        x, coarse = self._om_cnn(
            now.reshape(-1, *now.shape[2:]), later.reshape(-1, *later.shape[2:]), train and not self.frozen_frames
        )
        if self.frozen_frames:
            x, coarse = jax.lax.stop_gradient((x, coarse))
        x = x.reshape(clips, self.num_maps, *x.shape[1:])
        for layer in (1, 2):
            lstm = TwoCellLSTM(
                scaled(128, self.width), self.keep, self.mask_samples, self.demo_gate_scale, name=f"lstm_layer{layer}"
            )
            x, _ = lstm(x, None, train)
        logits = self._decoded("deconv", "deconv2", x.reshape(-1, *x.shape[2:])).astype(jnp.float32)

        def finished(maps: Float[Array, "n h w 1"]) -> Float[Array, "b t h w"]:
            return maps[..., 0].reshape(clips, self.num_maps, *maps.shape[1:3])

        return {
            "saliency": finished(_min_max(logits)),
            "logits": finished(logits),
            "coarse": finished(_min_max(coarse.astype(jnp.float32))),
        }

    def _om_cnn(
        self, now: Float[Array, "n h w 3"], later: Float[Array, "n h w 3"], train: bool
    ) -> tuple[Float[Array, "n h16 w16 c"], Float[Array, "n h4 w4 1"]]:
        """Returns the feature of each frame and its coarse map."""
        objects = self._objects(now, train)
        x = self._conv("conv_19", objects, 512)
        x = self._conv("conv_20", x, 256, 1)
        x = self._conv("conv_21", x, 128)
        x = self._conv("conv_22", x, 128, 1)
        coarse = self._decoded("deconv_23", "deconv_24", x)
        x = jnp.concatenate([objects, self._motion(jnp.concatenate([now, later], axis=-1), coarse)], axis=-1)
        for number, (features, size) in enumerate(((512, 3), (512, 1), (256, 3), (128, 1)), 1):
            x = self._conv(f"Lastconv_{number}", x, features, size)
        return x, coarse

    def _objects(self, x: Float[Array, "n h w 3"], train: bool) -> Float[Array, "n h16 w16 c"]:
        """Returns five levels of YOLO-tiny, side by side, times the radial mask."""
        size = x.shape[1] // _COMMON, x.shape[2] // _COMMON
        taps = {}
        for number, features in _TRUNK.items():
            x = nn.Conv(scaled(features, self.width), (3, 3), name=f"conv{number}")(x)
            norm = BatchNorm(self.norm_momentum, 1e-3, self.axis_name, name=f"conv{number}_norm")
            taps[number] = nn.leaky_relu(norm(x, use_running_average=not train), 0.1)
            x = nn.max_pool(taps[number], (2, 2), (2, 2))
        for number in (13, 14, 15):
            x = self._conv(f"conv{number}", x, 1024)
        levels = [taps[7], self._conv("conv_9_2", taps[9], 128, 1)]
        levels += [self._conv("conv_11_2", taps[11], 128, 1), self._conv("conv_15_2", x, 128, 1), self._cells(x)]
        joined = jnp.concatenate([self._resized(level, size) for level in levels], axis=-1)
        return joined * radial_mask(size, self.centred_mask)[..., None].astype(x.dtype)

    def _cells(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w 30"]:
        """Returns YOLO's prediction for each cell."""
        cells = x.shape[1:3]
        x = (x.transpose(0, 3, 1, 2) if self.channel_first else x).reshape(len(x), -1)
        for name, features in (("fc16", 256), ("fc17", 4096)):
            x = nn.leaky_relu(nn.Dense(scaled(features, self.width), name=name)(x), 0.1)
        return nn.Dense(cells[0] * cells[1] * _CELL, name="fc18")(x).reshape(-1, *cells, _CELL)

    def _motion(self, pair: Float[Array, "n h w 6"], coarse: Float[Array, "n h4 w4 1"]) -> Float[Array, "n h16 w16 c"]:
        """Returns four levels of FlowNet-S, side by side, the first ones amplified where the coarse map is high."""
        size = pair.shape[1] // _COMMON, pair.shape[2] // _COMMON
        mask = (0.5 + 0.5 * _min_max(coarse)).astype(pair.dtype)

        def seen(x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
            return x * self._resized(mask, x.shape[1:3])

        x = seen(self._conv("FNconv1", pair, 64, 7, 2))
        x = seen(self._conv("FNconv2", x, 128, 5, 2))
        x = seen(self._conv("FNconv3", x, 256, 5, 2))
        x3 = seen(self._conv("FNconv3_1", x, 256))
        x4 = self._conv("FNconv4_1", seen(self._conv("FNconv4", x3, 512, 3, 2)), 512)
        x5 = self._conv("FNconv5_1", self._conv("FNconv5", x4, 512, 3, 2), 512)
        x6 = self._conv("FNconv6_1", self._conv("FNconv6", x5, 1024, 3, 2), 1024)
        levels = [self._conv(f"FNDownconv_{n}_1", x, 128) for n, x in ((6, x6), (5, x5), (4, x4), (3, x3))]
        return jnp.concatenate([self._resized(level, size) for level in levels], axis=-1)

    def _conv(self, name: str, x: Float[Array, "n h w c"], features: int, size: int = 3, stride: int = 1) -> jax.Array:
        pad = [(size // 2, size // 2)] * 2
        conv = nn.Conv(scaled(features, self.width), (size, size), (stride, stride), padding=pad, name=name)
        return nn.leaky_relu(conv(x), 0.1)

    def _decoded(self, first: str, second: str, x: Float[Array, "n h w c"]) -> Float[Array, "n h4 w4 1"]:
        """Returns a map at four times the size of a feature, by two transposed convolutions."""
        x = nn.leaky_relu(Deconv2D(scaled(16, self.width), 4, 2, name=first)(x)[:, 1:-1, 1:-1], 0.1)
        return Deconv2D(1, 4, 2, name=second)(x)[:, 1:-1, 1:-1]

    def _resized(self, x: Float[Array, "n h w c"], size: tuple[int, int]) -> Float[Array, "n h2 w2 c"]:
        if x.shape[1:3] == size:
            return x
        return resize_bilinear(x, size) if self.half_pixel else resize_corner(x, size)


def radial_mask(size: tuple[int, int], centred: bool = False) -> Float[np.ndarray, "h w"]:
    """Returns 1 - d / max d, d being the distance to the point (h/2, w/2), or to the centre of the pixels."""
    shift = 0.5 if centred else 0.0
    y, x = (np.arange(side, dtype=np.float32) - side / 2 + shift for side in size)
    distance = np.hypot(y[:, None], x[None])
    return 1 - distance / max(distance.max(), _EPSILON)


def _min_max(maps: Float[Array, "n h w 1"]) -> Float[Array, "n h w 1"]:
    """Normalises each map to [0, 1]; a constant one becomes 0."""
    low, high = (edge(maps, axis=(1, 2), keepdims=True) for edge in (jnp.min, jnp.max))
    return (maps - low) / (high - low + _EPSILON)
