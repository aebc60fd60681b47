"""S of STANet's later releases (December 2021 and August 2022): classifies the tags of a single frame."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from avsd_jax.models.common import tag_classifiers
from avsd_jax.nn.self_gate import SelfGate


class Model(tag_classifiers.Classifier):
    """ResNeXt up to its third stage, class maps, and class maps fused with spatially gated ones; see the base."""

    depths: Sequence[int] = (3, 4, 23)

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Classifies the tags of each frame.

        Args:
            batch: video [B, 1, H, W, 3], ImageNet-normalised, of any size; other keys are ignored.
            train: use and update batch statistics.

        Returns:
            See `avsd_jax.models.common.tag_classifiers`; also maps_before and maps_after [B, h, w, K], before and after
            fusion, and self_gate [B, h, w, 1].

        Raises:
            InputError: no video, or more than a frame.
        """
        feature = self.deepest(self.trunk(self.frames(batch), train, "features"))
        before = nn.Conv(self.num_tags, (1, 1), name="extra_convs")(feature)
        gate = SelfGate(name="self_gate")(before)
        # Unlike the SA and ST networks, this one has no ReLU here.
        after = tag_classifiers.Fused(name="fused")(before, before, gate * before)
        return {
            "features": feature,
            "self_gate": gate,
            "maps_before": before,
            "maps_after": after,
            "tag_logits": tag_classifiers.score(after),
            "side_tag_logits": tag_classifiers.score(before),
            "tag_scores": tag_classifiers.score(before),
            "class_maps": jnp.float32((before + after) / 2),
        }
