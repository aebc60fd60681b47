"""AViNet, gated by audio-visual consistency (AVC) as in the survey.

AViNet (Jain et al., "ViNet", IROS 2021) is ViNet whose deepest feature is replaced by its fusion with
SoundNet's audio feature. V is the deepest feature, y0, and AV the fused one; both use ViNet's decoder.
The survey (section V-C, eq. 2) adds a classifier of audio-visual consistency that selects for each clip
the fused stream or the visual one; see `avsd_jax.models.common.bistream`.

Fusing a shallower tap of the encoder is ours: y1 has four times as many locations as y0, y2 sixteen times, so that the
audio can select one of several small sources. The decoder then reads the fused tap in the plain one's place.
"""

from collections.abc import Mapping

from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.models import vinet
from avsd_jax.models.common.bistream import BiStream, Features
from avsd_jax.nn.conv3d import Lowering
from avsd_jax.nn.sliding import Sliding
from avsd_jax.nn.soundnet import SoundNet

# The taps that may be fused, deepest first: tap k is read by the decoder if it has k skips.
FUSE_AT = ("y0", "y1", "y2")


class Model(BiStream):
    """AViNet; with the default options exactly the official network, always fused.

    Reads video [B, T, H, W, 3], ImageNet-normalised, and audio [B, L], waveform times 256; predicts the map of each
    clip's last frame. Beside what every gated model returns: the features stem, y3, y2, y1, y0, dec_in, dec1, dec2,
    dec3 [B, T', H', W', C]; with `num_tags` tag_logits [B, K]; unless gate="never" also audio_features [B, N, C] and
    fused [B, T', H', W', C].

    Attributes:
        clip_size, num_skips, width, lowering, norm_momentum, num_tags: see `avsd_jax.models.vinet.Model`; the width
            also scales SoundNet, whose last layer always has as many channels as y0.
        fuse_at: the tap that is fused, "y0" (published), "y1" or "y2"; with the latter two the fusion must not pair
            channels one to one, as `bilinear` does.

    The gate's, the fusion's and the classifier's options are those of `BiStream`.
    """

    clip_size: int = 32
    num_skips: int = 3
    width: float = 1.0
    lowering: Lowering = "auto"
    norm_momentum: float = 0.999
    num_tags: int = 0
    fusion: str = "bilinear"
    fuse_at: str = "y0"

    def setup(self) -> None:
        """Creates the visual stream, which encodes and decodes."""
        if self.fuse_at not in FUSE_AT:
            raise InputError(f"unknown fuse_at {self.fuse_at!r}: choose one of {', '.join(FUSE_AT)}")
        if FUSE_AT.index(self.fuse_at) > self.num_skips:
            raise InputError(
                f"fuse_at={self.fuse_at!r} fuses a tap that the decoder with num_skips={self.num_skips} does not read: "
                "give more skips, or fuse a deeper tap"
            )
        self.visual_model = vinet.Model(
            self.clip_size,
            self.num_skips,
            self.width,
            self.lowering,
            self.axis_name,
            self.norm_momentum,
            self.num_tags,
        )

    def encode_visual(self, batch: Mapping[str, Array], train: bool) -> tuple[Features, Float[Array, "b t h w c"]]:
        """Returns ViNet's taps; the one that is fused is V."""
        taps = self.visual_model.encode(batch, train)
        v = taps[self.fuse_at]
        return taps | self.visual_model.classify_tags(v), v

    def sliding(self) -> Sliding:
        """Returns ViNet's encoder; the convolution behind a fused tap reads what is not the encoder's."""
        visual = vinet.Model(self.clip_size, self.num_skips, self.width, self.lowering, parent=None)
        sliding = visual.sliding().within("visual_model")
        return sliding._replace(joins=[join for join in sliding.joins if join.tap != self.fuse_at])

    def fuse(
        self, v: Float[Array, "b t h w c"], features: Features, batch: Mapping[str, Array], train: bool
    ) -> dict[str, Float[Array, "b ..."]]:
        """Returns the audio feature and its fusion with the visual one."""
        encoder = SoundNet(self.width, features["y0"].shape[-1], self.axis_name, name="audionet")
        audio = encoder(read(batch, "audio"), train)["conv7"]
        return {"audio_features": audio, "fused": self.make_fusion()(v, audio, train)}

    def decode(self, feature: Float[Array, "b t h w c"], features: Features, train: bool) -> Features:
        """Applies ViNet's decoder to the taps, the feature in its tap's place."""
        taps = {**features, self.fuse_at: feature}
        return self.visual_model.decode(taps["y0"], taps, train)
