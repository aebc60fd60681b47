"""DAVE (Tavakoli et al., "DAVE: a deep audio-visual embedding for dynamic saliency prediction", 2019), gated.

    video ──> 3-D ResNet-18 ─── x [h, w, 512] ──┬── fusion of x and 0 ──────> V  ─┐
                                                └── fusion of x and vector ─> AV ─┤ c ? AV : V ──> decode ──> map
    audio ──> 3-D ResNet-18 ─── vector [512] ───┘                                 ┘

The published fusion is `concat`: the audio adds the same constants everywhere before a ReLU, so that it re-weights what
is shown, never where. The gate acts on the audio vector, which it lets pass or replaces by zero: the decoder has only
ever seen what a fusion gives. A fair visual baseline is trained without audio, with gate="never".
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.models.common import dave_parts
from avsd_jax.models.common.bistream import BiStream, Features
from avsd_jax.models.common.dave_parts import ACTIVATIONS
from avsd_jax.nn import sliding_stem
from avsd_jax.nn.conv3d import Conv3D, Lowering
from avsd_jax.nn.pool import smooth_max
from avsd_jax.nn.resize import resize_aligned
from avsd_jax.nn.resnet3d import DEPTHS_18
from avsd_jax.nn.sliding import Sliding
from avsd_jax.nn.width import scaled

_HE_FAN_IN = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
# Ratio of the frame's sides to those of the deepest feature.
_STRIDE = 32


class Upscale(nn.Module):
    """Doubles height and width, corners staying where they are, and applies a 3x3 convolution and ReLU.

    Attributes:
        features: output channels.
        lowering: see `avsd_jax.nn.conv3d.conv3d`.
    """

    features: int
    lowering: Lowering = "auto"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """Maps [B, h, w, I] to [B, 2h, 2w, features]."""
        x = resize_aligned(x, (2 * x.shape[1], 2 * x.shape[2]))
        return nn.relu(_conv(self.features, 3, self.lowering, "combine")(x[:, None])[:, 0])


class Model(BiStream):
    """DAVE; with the default options exactly the published network, always fused.

    Reads video [B, T, H, W, 3], RGB with Kinetics' mean and standard deviation, T from 1 to 16, of any size (published:
    16 frames of 256 x 320), and the log-mel patches or waveform that `avsd_jax.models.common.dave_parts.patches_of`
    takes. Predicts the map of each clip's last frame, of 4 ceil(H / 32) rows and 4 ceil(W / 32) columns. It is not
    bounded by 1: `saliency` is `activation` of the logits.

    Beside what every gated model returns: the video trunk's stem and layer1 to layer4 [B, T', H', W', C]; unless
    gate="never" the same of the audio trunk, as audio_stem and so on, audio_features [B, 1, 512] and fused
    [B, 1, h, w, 512]; dec_in, upscale1 and upscale2 [B, h', w', C]; with `num_tags` tag_logits [B, K].

    Attributes:
        clip_size: frames of a clip, and patches of its waveform.
        width: multiplies every channel count.
        depths: blocks of the trunks' four stages.
        lowering: see `avsd_jax.nn.conv3d.conv3d`.
        norm_momentum: share of the running statistics that a step keeps.
        num_tags: 0, or the number of tags that a head on layer4 classifies.
        shortcut: of the trunks' strided blocks, "A" (published) or "B", see `avsd_jax.nn.resnet.BasicBlock`.
        detach_shortcut: whether no gradient passes through these shortcuts, as officially.
        activation: "relu" (published), or "softplus", which leaves no pixel without a gradient.

    The gate's, the fusion's and the classifier's options are those of `BiStream`.
    """

    clip_size: int = 16
    width: float = 1.0
    depths: Sequence[int] = DEPTHS_18
    lowering: Lowering = "auto"
    norm_momentum: float = 0.9
    num_tags: int = 0
    shortcut: str = "A"
    detach_shortcut: bool = False
    activation: str = "relu"
    map_stride = 8
    hears_frames = True
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"sampler": "dave", "preprocessing": "dave", "frame_size": (256, 320)}
    )

    def setup(self) -> None:
        """Creates the trunks, the fusion and the decoder, named as in the checkpoint."""
        if self.activation not in ACTIVATIONS:
            raise InputError(f"unknown activation {self.activation!r}: choose one of {', '.join(ACTIVATIONS)}")
        dave_parts.check_frames(self.clip_size, "a clip")
        self.video_branch, self.audio_branch = dave_parts.trunk(self), dave_parts.trunk(self)
        # Both streams are fusions, of the same weights.
        self.join = self.make_fusion()
        self.upscale1 = Upscale(scaled(512, self.width), self.lowering)
        self.upscale2 = Upscale(scaled(128, self.width), self.lowering)
        self.saliency = _conv(1, 1, self.lowering)
        if self.num_tags:
            self.tag_head = nn.Dense(self.num_tags)

    def encode_visual(self, batch: Mapping[str, Array], train: bool) -> tuple[Features, Float[Array, "b 1 h w c"]]:
        """Returns the video trunk's taps; V is the fusion of the last one with an audio vector of zeros."""
        video = read(batch, "video")
        dave_parts.check_frames(video.shape[1], "video")
        if train and any(side % _STRIDE for side in video.shape[2:4]):
            raise InputError(
                f"frames have {video.shape[2]}x{video.shape[3]} pixels: train dave with multiples of {_STRIDE}, of "
                "which its maps have an eighth of the size"
            )
        taps = self.video_branch(video, train, batch["taps"]["stem"] if "taps" in batch else None)
        if self.num_tags:
            taps["tag_logits"] = smooth_max(self.tag_head(self.deepest(taps["layer4"])))
        nothing = jnp.zeros((video.shape[0], 1, taps["layer4"].shape[-1]), video.dtype)
        return taps, self.join(taps["layer4"], nothing, train)

    def sliding(self) -> Sliding:
        """Returns the video trunk's stem for sliding windows: behind it, time is halved four times."""
        return Sliding([sliding_stem.layer(self.lowering)], [], sliding_stem.folded).within("video_branch")

    def fuse(
        self, v: Float[Array, "b 1 h w c"], features: Features, batch: Mapping[str, Array], train: bool
    ) -> dict[str, Float[Array, "b ..."]]:
        """Returns the audio trunk's taps and vector, and its fusion with the video trunk's last tap."""
        heard = self.audio_branch(dave_parts.patches_of(batch, self.clip_size), train)
        vector = dave_parts.pooled(heard["layer4"])
        taps = {f"audio_{name}": tap for name, tap in heard.items()}
        return taps | {"audio_features": vector, "fused": self.join(features["layer4"], vector, train)}

    def decode(self, feature: Float[Array, "b 1 h w c"], features: Features, train: bool) -> Features:
        """Returns map and logits [B, 4h, 4w], and what lies between."""
        first = self.upscale1(feature[:, 0])
        second = self.upscale2(first)
        logits = self.saliency(second[:, None])[:, 0, ..., 0].astype(jnp.float32)
        saliency = ACTIVATIONS[self.activation](logits)
        return {"dec_in": feature, "upscale1": first, "upscale2": second, "logits": logits, "saliency": saliency}


def _conv(features: int, size: int, lowering: Lowering, name: str | None = None) -> Conv3D:
    """Builds a convolution in space, with a bias, that keeps the size."""
    half = size // 2
    return Conv3D(features, (1, size, size), (1, 1, 1), (0, half, half), True, lowering, _HE_FAN_IN, name=name)
