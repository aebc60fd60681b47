"""ViNet, visual-only video saliency (Jain et al., "ViNet", IROS 2021).

An S3D encoder, and a decoder that concatenates the encoder's taps in time.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.models.common.network import Network
from avsd_jax.nn import sliding_s3d
from avsd_jax.nn.conv3d import Lowering
from avsd_jax.nn.pool import smooth_max
from avsd_jax.nn.s3d import S3D
from avsd_jax.nn.sliding import Sliding
from avsd_jax.nn.vinet_decoder import JOINS, Decoder


class Model(Network):
    """ViNet; the official network at width 1.

    Attributes:
        clip_size: frames per clip, 8, 16, 32 or 48; the map predicted is that of the last frame.
        num_skips: encoder taps that the decoder reads (the official `num_hier`), 0 to 3.
        width: multiplies every channel count but the input's and output's.
        lowering: see `avsd_jax.nn.conv3d.conv3d`.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
        norm_momentum: of the encoder's running statistics, see `avsd_jax.nn.s3d.S3D`.
        num_tags: 0, or the number of tags that a head on the deepest feature classifies in the clip, to pretrain
            the encoder, as its published weights were pretrained on a video classification dataset.
    """

    clip_size: int = 32
    num_skips: int = 3
    width: float = 1.0
    lowering: Lowering = "auto"
    axis_name: str | None = None
    norm_momentum: float = 0.999
    num_tags: int = 0

    def setup(self) -> None:
        """Names the two halves as the official checkpoints do."""
        self.backbone = S3D(self.width, self.lowering, self.axis_name, self.norm_momentum)
        self.decoder = Decoder(self.clip_size, self.num_skips, self.width, self.lowering)
        if self.num_tags:
            self.tag_head = nn.Dense(self.num_tags)

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Predicts the saliency map of each clip's last frame.

        Args:
            batch: {"video": [B, T, H, W, 3]}, ImageNet-normalised RGB, or instead {"taps": what `encode` returns};
                other keys are ignored.
            train: use and update batch statistics (apply with mutable=["batch_stats"]).

        Returns:
            saliency [B, H, W] in [0, 1], logits [B, H, W], and the features stem, y3, y2, y1, y0, dec_in,
            dec1, dec2, dec3 [B, T', H', W', C]; with `num_tags` also tag_logits [B, K], a smooth maximum over
            locations.

        Raises:
            InputError: no video, or not of clip_size frames with height and width multiples of 32.
        """
        taps = self.encode(batch, train)
        return {**taps, **self.classify_tags(taps["y0"]), **self.decode(taps["y0"], taps, train)}

    def sliding(self) -> Sliding:
        """Returns the encoder for sliding windows, and the convolutions behind its taps."""
        joins = [
            sliding_s3d.join(name, tap, kernel, self.clip_size // 8, self.lowering)
            for tap, (name, kernel) in list(JOINS.items())[: self.num_skips]
        ]

        def fold(variables: Mapping[str, Any]) -> dict[str, Any]:
            decoder = variables["params"]["decoder"]
            encoder = {collection: tree["backbone"] for collection, tree in variables.items()}
            return sliding_s3d.folded(encoder) | {join.name: decoder[join.name] for join in joins}

        return Sliding(sliding_s3d.layers(self.lowering), joins, fold)

    def encode(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Float[Array, "b _ _ _ _"]]:
        """Returns the encoder's taps of a clip; see `avsd_jax.nn.s3d.S3D`."""
        if "taps" in batch:
            return dict(batch["taps"])
        video = read(batch, "video")
        frames, height, width = video.shape[1:4]
        if frames != self.clip_size:
            raise InputError(f"video has {frames} frames: give clips of clip_size={self.clip_size}")
        if height % 32 or width % 32:
            raise InputError(f"video is {height}x{width}: resize it to a height and width that are multiples of 32")
        return self.backbone(video, train)

    def classify_tags(self, y0: Float[Array, "b t h w c"]) -> dict[str, Float[Array, "b k"]]:
        """Returns tag_logits [B, K] from the deepest feature; an empty dictionary without a tag head."""
        return {"tag_logits": smooth_max(self.tag_head(self.deepest(y0)))} if self.num_tags else {}

    def decode(
        self,
        dec_in: Float[Array, "b t h w c"],
        taps: Mapping[str, Float[Array, "b _ _ _ _"]],
        train: bool = False,
    ) -> dict[str, Float[Array, "b ..."]]:
        """Returns saliency and logits [B, H, W], dec_in and dec1 to dec3, from a decoder input and the taps."""
        sums = {name: taps[name] for name, _ in JOINS.values() if name in taps}
        out = self.decoder(dec_in, taps["y1"], taps["y2"], taps["y3"], sums)
        logits = out["logits"].astype(jnp.float32)
        return {**out, "dec_in": dec_in, "logits": logits, "saliency": nn.sigmoid(logits)}
