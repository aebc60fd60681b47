"""ST of STANet's later releases (December 2021 and August 2022): classifies the tags of three consecutive frames."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.models.common import tag_classifiers
from avsd_jax.nn.conv3d import Conv3D
from avsd_jax.nn.frame_mix import FrameMix
from avsd_jax.nn.self_gate import SelfGate
from avsd_jax.nn.width import scaled

# For each frame of a triple in temporal order: the order of the triple when the frame is classified.
_LISTED = ((1, 0, 2), (0, 1, 2), (1, 2, 0))
_TARGET = 1


class Model(tag_classifiers.TripleClassifier):
    """ResNeXt's class maps of each frame, fused from spatially gated ones and from ones gated by all frames.

    The options are those of the base.
    """

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Classifies the tags of each frame of each triple; the middle one is the target.

        Args:
            batch: video [B, 3, H, W, 3], ImageNet-normalised, in temporal order; other keys are ignored.
            train: use and update batch statistics.

        Returns:
            See `avsd_jax.models.common.tag_classifiers`, N = 3 in temporal order; also maps_before and maps_after [B,
            3, h, w, K], before and after fusion, time_gate [B, 3, h, w, K] and self_gate [B, 3, h, w, 1].

        Raises:
            InputError: no video, or not of three frames.
        """
        feature = self.deepest(self.trunk(self.triples(batch), train, "features"))
        before = tag_classifiers.ClassMaps(self.num_tags, scaled(2048, self.width), name="extra_convs")(feature)
        own = SelfGate(name="self_gate")(before)
        context = self._context(before.reshape(-1, len(_LISTED), *before.shape[1:]))
        first, second = nn.relu(before + own * before), nn.relu(before + before * context)
        after = tag_classifiers.Fused(3, name="fused")(before, first, second)
        out = {"features": feature, "self_gate": own, "time_gate": context, "maps_before": before, "maps_after": after}
        out = {name: x.reshape(-1, len(_LISTED), *x.shape[1:]) for name, x in out.items()}
        before, after = out["maps_before"], out["maps_after"]
        return out | {
            "tag_logits": tag_classifiers.score(after),
            "side_tag_logits": tag_classifiers.score(before),
            "tag_scores": tag_classifiers.score(after[:, _TARGET]),
            "class_maps": jnp.float32((before + after)[:, _TARGET] / 2),
        }

    def _context(self, maps: Float[Array, "b n h w k"]) -> Float[Array, "b_n h w k"]:
        """Returns the gates of each frame, in (0, 1), computed from all three."""
        listed = jnp.stack([maps[:, order, :, :, :] for order in map(jnp.array, _LISTED)], axis=1)
        x = FrameMix(self.num_tags, name="extra_refineST_0")(listed.reshape(-1, *maps.shape[1:]))[:, None]
        for number in (1, 2):
            name = f"extra_refineST_{number}"
            x = Conv3D(self.num_tags, (1, 3, 3), padding=(0, 1, 1), use_bias=True, name=name)(x)
        return nn.sigmoid(x[:, 0])
