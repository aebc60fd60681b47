"""STAViS's visual-only network (Tsiami et al., "STAViS", CVPR 2020): a 3-D ResNet-50 with deeply supervised attention.

video ──> stem ─ attention ─> layer1 ─ attention ─> layer2 ─ attention ─> layer3
             └ DSAM 0            └ DSAM 1             └ DSAM 2              └ DSAM 3
                 └───────────────────┴── sides [B, H, W, 64] ──┴────────────────┘ ──> head ──> map
"""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.models.common.network import Network
from avsd_jax.nn import sliding_stem
from avsd_jax.nn.conv3d import Lowering
from avsd_jax.nn.dsam import DARK, DSAM, SMALL, attend
from avsd_jax.nn.pool import smooth_max
from avsd_jax.nn.resnet3d import ResNet3D
from avsd_jax.nn.sliding import Sliding
from avsd_jax.nn.width import scaled

# Ratio of the frame's size to that of each level.
STRIDES = (2, 4, 8, 16)


class Model(Network):
    """The visual-only network; the official one at width 1 and 16 frames, of any size.

    Attributes:
        clip_size: frames per clip, a multiple of 8; the official training targets are those of the clip's middle.
        width: multiplies every channel count but the input's and output's.
        lowering: see `avsd_jax.nn.conv3d.conv3d`.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
        norm_momentum: share of the running statistics that a step keeps; PyTorch's 0.1 is 0.9 here.
        num_tags: 0, or the number of tags that a head on the deepest level classifies in the clip, to pretrain the
            trunk, as its published weights were pretrained on a video classification dataset.
    """

    clip_size: int = 16
    width: float = 1.0
    lowering: Lowering = "auto"
    axis_name: str | None = None
    norm_momentum: float = 0.9
    num_tags: int = 0

    def setup(self) -> None:
        """Names the parts as the official checkpoints do; the head is their `fuse`."""
        self.trunk = ResNet3D(self.width, self.lowering, self.axis_name, self.norm_momentum)
        self.score_dsn = [DSAM(stride, scaled(16, self.width)) for stride in STRIDES]
        self.head = nn.Conv(1, (1, 1), kernel_init=SMALL, bias_init=DARK)
        if self.num_tags:
            self.tag_head = nn.Dense(self.num_tags)

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Predicts one map for each clip.

        Args:
            batch: {"video": [B, T, H, W, 3]}, RGB 0..255 less the mean, and {"taps": {"stem": the stem's output}} if
                that is known already; other keys are ignored.
            train: use and update batch statistics.

        Returns:
            saliency [B, H, W] in [0, 1], logits [B, H, W] and what `encode` gives; with `num_tags` also tag_logits
            [B, K], a smooth maximum over locations.

        Raises:
            InputError: no video, or not of clip_size frames.
        """
        features = self.encode(batch, train)
        return features | self.classify_tags(features["layer3"]) | self.decode(self.score(features["sides"]))

    def sliding(self) -> Sliding:
        """Returns the stem for sliding windows: attention, which follows, is another one in each window."""
        return Sliding([sliding_stem.layer(self.lowering)], [], sliding_stem.folded).within("trunk")

    def encode(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Float[Array, "b ..."]]:
        """Applies the trunk with attention, and computes its side maps.

        Returns:
            stem [B, T, H/2, W/2, 64] and layer1 to layer3 [B, T', H', W', C], each before its attention; scores_0 to
            scores_3 [B, h, w], the attention's logits; sides [B, H, W, 64]; side_logits [B, 4, H, W], a map of each
            level, for deep supervision.
        """
        video = read(batch, "video")
        frames, size = video.shape[1], video.shape[2:4]
        if frames != self.clip_size:
            raise InputError(f"video has {frames} frames: give clips of clip_size={self.clip_size}")
        if frames % 8:
            raise InputError(f"clip_size is {frames}: choose a multiple of 8, as the trunk halves time three times")
        x = batch["taps"]["stem"] if "taps" in batch else self.trunk.stem(video, train)
        out, levels = {}, []
        for level, dsam in enumerate(self.score_dsn):
            out[f"layer{level}" if level else "stem"] = x
            levels.append(dsam(x, size))
            out[f"scores_{level}"] = levels[-1]["scores"]
            if level < 3:
                x = attend(x, levels[-1]["attention"])
                x = self.trunk.stage(level + 1, x if level else self.trunk.pool(x), train)
        out["sides"] = jnp.concatenate([level["side"] for level in levels], axis=-1)
        out["side_logits"] = jnp.stack([level["side_logits"] for level in levels], axis=1)
        return out

    def classify_tags(self, layer3: Float[Array, "b t h w c"]) -> dict[str, Float[Array, "b k"]]:
        """Returns tag_logits [B, K] from the deepest level; an empty dictionary without a tag head."""
        return {"tag_logits": smooth_max(self.tag_head(self.deepest(layer3)))} if self.num_tags else {}

    def score(self, sides: Float[Array, "b h w c"]) -> Float[Array, "b h w"]:
        """Returns the head's logits."""
        return self.head(sides)[..., 0]

    @staticmethod
    def decode(logits: Float[Array, "b h w"]) -> dict[str, Float[Array, "b h w"]]:
        """Returns saliency and logits [B, H, W], in float32."""
        logits = logits.astype(jnp.float32)
        return {"logits": logits, "saliency": nn.sigmoid(logits)}
