"""The three published heads of STANet, between its two backbones and its maps.

All read the last three stages of ResNeXt, `low`, `middle` and `deep`, and the same audio vector, and provide what
`avsd_jax.models.stanet` needs: a feature of the predicted frames (`encode_visual`, V), their own audio-visual fusion
(`fuse`, AV), and a decoder for either (`decode`). Submodule names follow the published keys; those of the later two
releases lack the prefix `extra_`.

The three frames of a clip are in temporal order, and K of them are predicted: the middle one, or others on request.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.nn.conv2d import Deconv2D
from avsd_jax.nn.conv3d import Conv3D
from avsd_jax.nn.conv_gru import ConvGRU
from avsd_jax.nn.frame_mix import FrameMix
from avsd_jax.nn.resize import resize_bilinear
from avsd_jax.nn.self_gate import SelfGate
from avsd_jax.nn.width import scaled

TARGET = 1

Features = dict[str, Float[Array, "b ..."]]
# Kernel and stride of the transposed convolutions that expand an audio vector to 12 x 12 locations.
_SPREAD = ((4, 2), (4, 2), (3, 1))


def _conv(features: int, size: int = 1) -> nn.Conv:
    return nn.Conv(features, (size, size))


def _flat(x: Float[Array, "b k *rest"]) -> Float[Array, " b_k *rest"]:
    return x.reshape(-1, *x.shape[2:])


def _framed(x: Float[Array, " b_k *rest"], v: Float[Array, "b k h w _"]) -> Float[Array, "b k *rest"]:
    """Restores clips and predicted frames as two axes, as V has them."""
    return x.reshape(*v.shape[:2], *x.shape[1:])


def _join(*parts: Float[Array, "b h w _"]) -> Float[Array, "b h w c"]:
    return jnp.concatenate(parts, axis=-1)


def _fitted(x: Float[Array, "b h w c"], like: Float[Array, "_ h2 w2 _"]) -> Float[Array, "b h2 w2 c"]:
    """Resizes a feature to the grid of another."""
    return x if x.shape[1:3] == like.shape[1:3] else resize_bilinear(x, like.shape[1:3])


def _frames_to_maps(
    logits: Sequence[Float[Array, "bk _ _ 1"]], like: Float[Array, "b h2 w2 3"]
) -> Float[Array, "b ..."]:
    """Resizes the logits of each scale to the frames' size, [B, K, scales, H, W]."""
    maps = [_fitted(x, like)[..., 0].astype(jnp.float32) for x in logits]
    stacked = jnp.stack(maps, axis=1)
    return stacked.reshape(like.shape[0], -1, *stacked.shape[1:])


class HeadCVPR(nn.Module):
    """The CVPR network (`att_Net`): 32 channels, one map of the middle frame.

    Attributes:
        width: multiplies the channel counts (see `avsd_jax.nn.width.scaled`).
        predicted: the frames whose maps are predicted; (1,) here.
        temporal_relu: ReLU after the temporal branch, as in the published training file; the published test file, with
            the same weights, has none.
    """

    width: float = 1.0
    predicted: tuple[int, ...] = (TARGET,)
    temporal_relu: bool = True

    def setup(self) -> None:
        """Creates the layers with their published names."""
        if self.predicted != (TARGET,):
            raise InputError("release='cvpr' predicts the middle frame alone: leave all_frames and reports as they are")
        c = scaled(32, self.width)
        self.downv2, self.downv3, self.downv4 = _conv(c), _conv(c), _conv(c)
        self.refineST = Conv3D(1, (3, 1, 1), use_bias=True)
        self.Aup1, self.Aup2, self.Aup3 = (Deconv2D(c, *shape) for shape in _SPREAD)
        self.atten_conv, self.attention = _conv(2 * c), _conv(1)
        self.AVTFuse = _conv(c)
        self.refineV33, self.refineV22, self.predictF = _conv(c, 3), _conv(c, 3), _conv(1)

    def encode_visual(self, taps: Features) -> tuple[Features, Float[Array, "b k h w c"]]:
        """Computes the temporal branch; V is the middle frame's reduced feature."""
        frames = self.downv4(taps["deep"])
        v = frames[:, TARGET]
        logits = self.refineST(frames)[:, 0]
        st = v * nn.sigmoid(logits) + v
        features = {"frames": frames, "st_logits": logits, "st": nn.relu(st) if self.temporal_relu else st}
        return features, v[:, None]

    def fuse(
        self, v: Float[Array, "b k h w c"], features: Features, audio: Float[Array, "b k d"], switch: Any
    ) -> Features:
        """Applies spatial alignment: the expanded audio and the frame give a mask that amplifies the frame."""
        x, spread = v[:, 0], audio[:, :, None]
        for layer in (self.Aup1, self.Aup2, self.Aup3):
            spread = layer(spread)
        logits = self.attention(self.atten_conv(_join(_fitted(spread, x), x)))
        mask = nn.sigmoid(logits)
        if switch is not None:
            mask = mask * switch[:, :, None, None]
        found = {"spread": spread, "mask_logits": logits, "mask": mask, "fused": x + mask * x}
        return {name: value[:, None] for name, value in found.items()}

    def decode(self, feature: Float[Array, "b k h w c"], features: Features) -> Features:
        """Returns scale logits [B, 1, 1, H, W]."""
        x = features["frames"][:, TARGET]
        y = joined = self.AVTFuse(_join(features["st"], nn.relu(feature[:, 0]), x))
        for name, down, refine in (("middle", self.downv3, self.refineV33), ("low", self.downv2, self.refineV22)):
            tap = features[name][:, TARGET]
            y = refine(_join(_fitted(y, tap), down(tap)))
        logits = self.predictF(y)
        maps = _frames_to_maps([logits], features["target_frame"])
        return {"joined": joined[:, None], "coarse_logits": logits[:, None], "scale_logits": maps}


class Head2021(nn.Module):
    """`STANet` of December 2021: 28 channels, three maps of each frame.

    Attributes:
        width, predicted: as in `HeadCVPR`.
    """

    width: float = 1.0
    predicted: tuple[int, ...] = (TARGET,)

    def setup(self) -> None:
        """Creates the layers with their published names."""
        c, wide = scaled(28, self.width), scaled(2048, self.width)
        self.video_d0, self.video_d1, self.video_d2 = _conv(c), _conv(c), _conv(c)
        self.self_gate = SelfGate()
        self.refineST = FrameMix(1)
        self.audio_d = nn.Dense(wide)
        self.Aup = [Deconv2D(wide, *shape) for shape in _SPREAD]
        self.convs = [_conv(c), _conv(1)]
        self.conv_fusion = _conv(c)
        self.refine4, self.refine3, self.refine2 = _conv(c, 3), _conv(c, 3), _conv(c, 3)
        self.predict4, self.predict3, self.predict2 = _conv(1), _conv(1), _conv(1)

    # The frames whose features are mixed for each of the three, in the order of the official lists.
    _orders = ((1, 0, 2), (0, 1, 2), (1, 2, 0))

    def encode_visual(self, taps: Features) -> tuple[Features, Float[Array, "b k h w c"]]:
        """Computes the gates of self-attention and of time; V is the reduced feature."""
        frames, picked = self.video_d2(taps["deep"]), list(self.predicted)
        v = frames[:, picked]
        gate = self.self_gate(_flat(v))
        mixed = [self.refineST(frames[:, list(self._orders[k])]) for k in picked]
        st = nn.sigmoid(jnp.stack(mixed, axis=1))
        features = {"frames": frames, "self_gate": _framed(gate, v), "st_gate": st}
        return features, v

    def fuse(
        self, v: Float[Array, "b k h w c"], features: Features, audio: Float[Array, "b k d"], switch: Any
    ) -> Features:
        """Computes a mask from the audio alone; it multiplies the target frame and is added to the others."""
        reduced = self.audio_d(_flat(audio))
        spread = reduced[:, None, None]
        for layer in self.Aup:
            spread = layer(spread)
        # The published switch scales the expanded audio; closed, the mask is the same everywhere, but not zero.
        heard = spread if switch is None else spread * switch.reshape(-1, 1, 1, 1)
        mask = nn.sigmoid(self.convs[1](self.convs[0](heard)))
        mask = _framed(_fitted(mask, _flat(v)), v)
        added = [v[:, i] * mask[:, i] if k == TARGET else mask[:, i] for i, k in enumerate(self.predicted)]
        fused = v + jnp.stack(jnp.broadcast_arrays(*added), axis=1)
        return {"audio_reduced": _framed(reduced, v), "spread": _framed(spread, v), "mask": mask, "fused": fused}

    def decode(self, feature: Float[Array, "b k h w c"], features: Features) -> Features:
        """Returns scale logits [B, K, 3, H, W], coarse to fine."""
        picked = list(self.predicted)
        x, gate, st = _flat(features["frames"][:, picked]), _flat(features["self_gate"]), _flat(features["st_gate"])
        c0 = self.video_d0(_flat(features["low"][:, picked]))
        c1 = self.video_d1(_flat(features["middle"][:, picked]))
        y = self.conv_fusion(_join(nn.relu(x + gate * x), nn.relu(x + st), nn.relu(_flat(feature))))
        r4 = _fitted(self.refine4(_join(y, x)), c1)
        r3 = _fitted(self.refine3(_join(r4, c1)), c0)
        r2 = self.refine2(_join(r3, c0))
        logits = [self.predict4(r4), self.predict3(r3), self.predict2(r2)]
        maps = _frames_to_maps(logits, features["target_frame"])
        return {"joined": _framed(y, feature), "scale_logits": maps} | _by_scale(logits, feature)


class Head2022(nn.Module):
    """`STANetModel` of August 2022: 32 channels, audio-visual attention between channels, two maps of each frame.

    Attributes:
        width, predicted: as in `HeadCVPR`.
    """

    width: float = 1.0
    predicted: tuple[int, ...] = (TARGET,)

    def setup(self) -> None:
        """Creates the layers with their published names."""
        c, shared = scaled(32, self.width), scaled(128, self.width)
        self.convs, self.convsd1, self.convsd0 = _conv(c), _conv(c), _conv(c)
        self.self_gate = SelfGate("gates")
        space = [Conv3D(c, (1, 3, 3), padding=(0, 1, 1), use_bias=True) for _ in range(2)]
        self.refineST = [FrameMix(c), *space]
        self.lineara, self.linearv, self.convv = nn.Dense(shared), nn.Dense(shared), _conv(shared)
        self.gateav_0, self.gateav_2 = _conv(c), _conv(1)
        self.conv_fusion, self.ConvGRU = _conv(c, 3), ConvGRU()
        self.refine1_0, self.refine0_0 = _conv(c, 3), _conv(c, 3)
        self.out1, self.out0 = _conv(1), _conv(1)

    # As in `Head2021`, with the lists of this release.
    _orders = ((1, 0, 2), (2, 1, 0), (0, 2, 1))

    def encode_visual(self, taps: Features) -> tuple[Features, Float[Array, "b k h w c"]]:
        """Computes the gates of self-attention and of time; V is the reduced feature."""
        frames, picked = self.convs(taps["deep"]), list(self.predicted)
        v = frames[:, picked]
        gate = self.self_gate(_flat(v))
        st = jnp.stack([self._mix(frames[:, list(self._orders[k])]) for k in picked], axis=1)
        return {"frames": frames, "self_gate": _framed(gate, v), "st_logits": st}, v

    def _mix(self, frames: Float[Array, "b n h w c"]) -> Float[Array, "b h w c"]:
        mix, first, second = self.refineST
        return second(first(mix(frames)[:, None]))[:, 0]

    def fuse(
        self, v: Float[Array, "b k h w c"], features: Features, audio: Float[Array, "b k d"], switch: Any
    ) -> Features:
        """Computes a mask from attention of audio to visual channels; this release ignores the switch."""
        deep = _flat(features["deep"][:, list(self.predicted)])
        heard, seen = self.lineara(_flat(audio)), self.linearv(jnp.mean(deep, axis=(1, 2)))
        attention = nn.softmax(heard[:, :, None] * seen[:, None])
        z = jnp.einsum("bij,bhwj->bhwi", attention, self.convv(deep), precision=jax.lax.Precision.HIGHEST)
        mask = _framed(nn.sigmoid(self.gateav_2(nn.relu(self.gateav_0(z)))), v)
        reduced = {"audio_reduced": _framed(heard, v), "video_reduced": _framed(seen, v)}
        return reduced | {"mask": mask, "fused": v + v * mask}

    def decode(self, feature: Float[Array, "b k h w c"], features: Features) -> Features:
        """Returns scale logits [B, K, 2, H, W], coarse to fine."""
        picked = list(self.predicted)
        x, gate, st = _flat(features["frames"][:, picked]), _flat(features["self_gate"]), _flat(features["st_logits"])
        s0 = self.convsd0(_flat(features["low"][:, picked]))
        s1 = self.convsd1(_flat(features["middle"][:, picked]))
        branches = nn.relu(x + gate * x), nn.relu(x + x * nn.sigmoid(st)), nn.relu(_flat(feature))
        joined = self.conv_fusion(_join(*branches))
        y = self.ConvGRU(joined, x)
        q1 = _fitted(nn.relu(self.refine1_0(_join(_fitted(y, s1), s1)) + s1), s0)
        q0 = nn.relu(self.refine0_0(_join(q1, s0)) + q1)
        logits = [self.out1(q1), self.out0(q0)]
        maps = _frames_to_maps(logits, features["target_frame"])
        found = {"joined": _framed(joined, feature), "blended": _framed(y, feature), "scale_logits": maps}
        return found | _by_scale(logits, feature)


def _by_scale(logits: Sequence[Float[Array, "bk _ _ 1"]], feature: Float[Array, "b k h w c"]) -> Features:
    """Returns the logits of each scale at its own size, scale0 being the coarsest: [B, K, h', w', 1]."""
    return {f"scale{i}": _framed(x, feature) for i, x in enumerate(logits)}


HEADS = {"cvpr": HeadCVPR, "2021": Head2021, "2022": Head2022}
