"""STAViS (Tsiami et al., "STAViS: spatio-temporal audiovisual saliency network", CVPR 2020), audio-visual and gated.

    video ──> visual network ─── sides [B, H, W, 64] ────┬──── head ────────────────────────> V
                 └ layer2 ──> fusion ── audio map ───────┴──── audio-visual head ───────────> AV
    audio ──> SoundNet ─┘       [B, H, W, 64]

V is the visual-only network's map. AV's head reads the same side features and a map of the sound source. The streams
separate at the heads and only the sigmoid follows, so `gate_at` does not change any number: "input" selects between the
logits, "output" between the maps, and returns both of them. A clip trains the head of the stream that its gate
selected, and the side features. See `avsd_jax.models.common.bistream`.
"""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.models import stavis_visual
from avsd_jax.models.common.bistream import BiStream, Features
from avsd_jax.nn.conv3d import Lowering
from avsd_jax.nn.dsam import DARK, SMALL
from avsd_jax.nn.resize import resize_bilinear
from avsd_jax.nn.sliding import Sliding
from avsd_jax.nn.soundnet import SoundNet


class Model(BiStream):
    """STAViS; with the default options exactly the official audio-visual network, with gate="never" the visual one.

    Reads video [B, T, H, W, 3], RGB 0..255 less the mean, and audio [B, L], waveform times 256. The published weights
    are for 16 frames of 112 x 112; other lengths and sizes work, too. Beside what every gated model returns: what
    `stavis_visual` does; unless gate="never" also audio_features [B, N, 1024] and SoundNet's blocks conv1 to conv7,
    sound_map [B, H, W, 64] and fused [B, H, W], AV's logits.

    Attributes:
        clip_size, width, lowering, norm_momentum, num_tags: see `avsd_jax.models.stavis_visual.Model`; the width also
            scales SoundNet, not the fusion, which has options of its own.

    The gate's, the fusion's and the classifier's options are those of `BiStream`. Any fusion may replace `localisation`
    except those that pair channels one to one (`bilinear`, `bilinear_transformer`): SoundNet has twice as
    many as layer2.
    """

    clip_size: int = 16
    width: float = 1.0
    lowering: Lowering = "auto"
    norm_momentum: float = 0.9
    num_tags: int = 0
    fusion: str = "localisation"

    def setup(self) -> None:
        """Creates all parts but the fusion; the head here is the official `fuseav`."""
        self.visual_model = stavis_visual.Model(
            self.clip_size, self.width, self.lowering, self.axis_name, self.norm_momentum, self.num_tags
        )
        self.soundnet8 = SoundNet(self.width, axis_name=self.axis_name, last_pool=2, unbiased=True)
        self.head = nn.Conv(1, (1, 1), kernel_init=SMALL, bias_init=DARK)

    def encode_visual(self, batch: Mapping[str, Array], train: bool) -> tuple[Features, Float[Array, "b h w"]]:
        """Returns the visual network's features; its logits are V."""
        features = self.visual_model.encode(batch, train)
        return features | self.visual_model.classify_tags(features["layer3"]), self.visual_model.score(
            features["sides"]
        )

    def sliding(self) -> Sliding:
        """Returns what the visual network does."""
        visual = stavis_visual.Model(self.clip_size, self.width, self.lowering, parent=None)
        return visual.sliding().within("visual_model")

    def fuse(
        self, v: Float[Array, "b h w"], features: Features, batch: Mapping[str, Array], train: bool
    ) -> dict[str, Float[Array, "b ..."]]:
        """Returns the localisation of the sound source at the middle of the clip, and the audio-visual logits."""
        heard = self.soundnet8(read(batch, "audio"), train)
        seen = features["layer2"]
        middle = seen.shape[1] // 2
        seen = jnp.mean(seen[:, middle - 1 : middle + 1], axis=1, keepdims=True)
        fused = self.make_fusion()(seen, heard["conv7"], train)
        sound_map = resize_bilinear(fused[:, 0], v.shape[1:])
        logits = self.head(jnp.concatenate([features["sides"], sound_map], axis=-1))[..., 0]
        return heard | {"audio_features": heard["conv7"], "sound_map": sound_map, "fused": logits}

    def decode(self, feature: Float[Array, "b h w"], features: Features, train: bool) -> Features:
        """Applies the sigmoid to the head's logits."""
        return self.visual_model.decode(feature)
