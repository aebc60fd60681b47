"""STAViS (Tsiami et al., "STAViS: spatio-temporal audiovisual saliency network", CVPR 2020), visual and audio-visual.

              ┌ DSAM 0..3 ── sides [B, H, W, 64] ─┬─ visual head ──────────────> V
    video ──> trunk                               └─────────────┬─ audio-visual head > AV
              └ layer2 ── fusion ── sound map [B, H, W, 64] ────┘
    audio ──> SoundNet ─────┘

V is the visual-only network's map, from the head `fuse` on the side features of four levels. AV is the audio-visual
network's, from the head `fuseav` on the same side features and the map of where the sound is. The flows part at the
heads and nothing follows but the sigmoid, so here `gate_at` decides no number: "input" chooses between the logits,
"output" between the maps, and gives both of them. What differs from AViNet is training: a clip trains the head of the
flow that its gate chose. See `avsd_jax.models._bistream`.
"""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.models._bistream import BiStream, Features, read
from avsd_jax.nn.conv3d import Lowering
from avsd_jax.nn.dsam import DARK, DSAM, SMALL, attend
from avsd_jax.nn.resize import resize_bilinear
from avsd_jax.nn.resnet3d import ResNet3D
from avsd_jax.nn.s3d import scaled
from avsd_jax.nn.soundnet import SoundNet

STRIDES = (2, 4, 8, 16)


class Model(BiStream):
    """STAViS; with the default options exactly the official audio-visual network, with gate="never" the visual one.

    Reads video [B, T, H, W, 3] in RGB 0..255 less the mean, and audio [B, L], waveform times 256. The published weights
    are for 16 frames of 112 x 112; any length that is a multiple of 8 and any size go through. Beside what every gated
    model returns: stem [B, T, H/2, W/2, 64], layer1 to layer3 [B, T', H', W', C], scores_0 to scores_3 [B, h, w]
    (attention logits), sides [B, H, W, 64], side_logits [B, 4, H, W] (for deep supervision); unless gate="never" also
    audio_features [B, N, 1024] and its blocks conv1 to conv7, sound_map [B, H, W, 64] and fused [B, H, W], AV's logits.

    Attributes:
        clip_size: frames per clip.
        width: multiplies every channel count but those of the fusion, which has options of its own.
        lowering: see `avsd_jax.nn.conv3d.conv3d`.
        norm_momentum: of the trunk's running statistics.

    The gate's, the fusion's and the classifier's options are those of `BiStream`. Any fusion may take the place of
    `localisation`; the ones that pair channels one to one (`bilinear`) need as many in SoundNet's last layer as in
    layer2, 1024 and 512, and are refused.
    """

    clip_size: int = 16
    width: float = 1.0
    lowering: Lowering = "auto"
    norm_momentum: float = 0.9
    fusion: str = "localisation"

    def setup(self) -> None:
        """All parts but the fusion; the heads are the official `fuse` and `fuseav`."""
        self.trunk = ResNet3D(self.width, self.lowering, self.axis_name, self.norm_momentum)
        self.score_dsn = [DSAM(stride, scaled(16, self.width)) for stride in STRIDES]
        self.visual_head = nn.Conv(1, (1, 1), kernel_init=SMALL, bias_init=DARK)
        self.audiovisual_head = nn.Conv(1, (1, 1), kernel_init=SMALL, bias_init=DARK)
        self.soundnet8 = SoundNet(self.width, axis_name=self.axis_name, last_pool=2, unbiased=True)

    def see(self, batch: Mapping[str, Array], train: bool) -> tuple[Features, Float[Array, "b h w"]]:
        """The trunk under attention and its side maps; the visual head's logits are V."""
        video = read(batch, "video")
        frames, size = video.shape[1], video.shape[2:4]
        if frames != self.clip_size:
            raise InputError(f"video has {frames} frames: give clips of clip_size={self.clip_size}")
        if frames % 8:
            raise InputError(f"clip_size is {frames}: choose a multiple of 8, as the trunk shortens time three times")
        x = self.trunk.stem(video, train)
        out, levels = {}, []
        for level, dsam in enumerate(self.score_dsn):
            out[f"layer{level}" if level else "stem"] = x
            levels.append(dsam(x, size))
            out[f"scores_{level}"] = levels[-1]["scores"]
            if level < 3:
                x = attend(x, levels[-1]["attention"])
                x = self.trunk.stage(level + 1, x if level else self.trunk.pool(x), train)
        out["side_logits"] = jnp.stack([level["side_logits"] for level in levels], axis=1)
        out["sides"] = jnp.concatenate([level["side"] for level in levels], axis=-1)
        return out, self.visual_head(out["sides"])[..., 0]

    def fuse(
        self, v: Float[Array, "b h w"], features: Features, batch: Mapping[str, Array], train: bool
    ) -> dict[str, Float[Array, "b ..."]]:
        """Where the sound is in the middle of the clip, and the audio-visual head's logits."""
        heard = self.soundnet8(read(batch, "audio"), train)
        seen = features["layer2"]
        middle = seen.shape[1] // 2
        fused = self.make_fusion()(seen[:, middle - 1 : middle + 1].mean(1, keepdims=True), heard["conv7"], train)
        sound_map = resize_bilinear(fused[:, 0], v.shape[1:])
        logits = self.audiovisual_head(jnp.concatenate([features["sides"], sound_map], axis=-1))[..., 0]
        return heard | {"audio_features": heard["conv7"], "sound_map": sound_map, "fused": logits}

    def decode(self, feature: Float[Array, "b h w"], features: Features, train: bool) -> Features:
        """The sigmoid of the head's logits."""
        logits = feature.astype(jnp.float32)
        return {"logits": logits, "saliency": nn.sigmoid(logits)}
