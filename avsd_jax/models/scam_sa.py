"""SA of STANet's release of December 2021: classifies the tags of a frame, attending to its sound source."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.models.common import tag_classifiers
from avsd_jax.nn.conv2d import Deconv2D
from avsd_jax.nn.resize import resize_bilinear
from avsd_jax.nn.self_gate import SelfGate
from avsd_jax.nn.width import scaled

# Side of the audio map -> (size, stride) of the transposed convolutions that compute it.
_GROWTH = {8: ((3, 1), (3, 1), (4, 1)), 12: ((4, 2), (4, 2), (3, 1))}


class Model(tag_classifiers.Classifier):
    """ResNeXt's class maps, fused from spatially gated ones and from ones masked by the audio.

    Attributes:
        audio_grid: side of the mask: 8 for 256-pixel frames (coarse), 12 for 356-pixel ones (fine). It is resized
            for class maps of a different size.
        others: see the base.
    """

    audio_grid: int = 8
    uses_audio = True

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Classifies the tags of each frame.

        Args:
            batch: video [B, 1, H, W, 3], ImageNet-normalised; audio [B, S], the half second around the frame, in
                [-1, 1] at 16 kHz, or spectrogram [B, 257, 48] made of it. Other keys are ignored.
            train: use and update batch statistics.

        Returns:
            See `avsd_jax.models.common.tag_classifiers`; also maps_before and maps_after [B, h, w, K], before and after
            fusion, self_gate and sound_mask [B, h, w, 1], heard [B, D] and sound_map [B, G, G, C].

        Raises:
            InputError: a missing key, more than a frame, or an unknown `audio_grid`.
        """
        if self.audio_grid not in _GROWTH:
            raise InputError(f"no audio_grid {self.audio_grid}: choose one of {', '.join(map(str, _GROWTH))}")
        feature = self.deepest(self.trunk(self.frames(batch), train, "features"))
        before = tag_classifiers.ClassMaps(self.num_tags, scaled(2048, self.width), name="extra_video_d")(feature)
        heard = self.encode_audio(batch, train, "audio_model")
        sound = self._unfold(heard)
        mask = resize_bilinear(self._mask(sound), before.shape[1:3])
        gate = SelfGate(name="self_gate")(before)
        first, second = nn.relu(before + gate * before), nn.relu(before + before * mask)
        after = tag_classifiers.Fused(name="fused")(before, first, second)
        return {
            "features": feature,
            "heard": heard,
            "sound_map": sound,
            "sound_mask": mask,
            "self_gate": gate,
            "maps_before": before,
            "maps_after": after,
            "tag_logits": tag_classifiers.score(after),
            "side_tag_logits": tag_classifiers.score(before),
            "tag_scores": tag_classifiers.score(after),
            "class_maps": jnp.float32((before + after) / 2),
        }

    def _unfold(self, heard: Float[Array, "b d"]) -> Float[Array, "b g g c"]:
        """Expands the audio vector to a map."""
        channels = scaled(2048, self.width)
        x = nn.Dense(channels, name="extra_audio_d")(heard)[:, None, None]
        for number, (size, stride) in enumerate(_GROWTH[self.audio_grid]):
            x = Deconv2D(channels, size, stride, name=f"Aup_{2 * number}")(x)
            x = nn.relu(x) if number < 2 else x
        return x

    def _mask(self, sound: Float[Array, "b g g c"]) -> Float[Array, "b g g 1"]:
        x = nn.Conv(self.num_tags, (1, 1), name="extra_convs_0")(sound)
        return nn.sigmoid(nn.Conv(1, (1, 1), name="extra_convs_1")(x))
