"""Grad-CAM++ of a classifier of tags as a saliency model: the map of the tag that it finds in a clip."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from avsd_jax import models
from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.handcrafted.image.maps import logits_of
from avsd_jax.models.common.network import Network
from avsd_jax.nn import grad_cam
from avsd_jax.nn.resize import resize_bilinear

_Feature = Float[Array, "n *places c"]


class Model(Network):
    """The classifier with its own variables; it is trained as the classifier is, on tags alone.

    The survey names no classifier: any of ours that classifies tags at a feature with locations, which it passes
    through `Network.deepest`.

    Attributes:
        network: module of `avsd_jax.models`.
        network_options: its options, but for `num_tags`.
        num_tags: number of tags that it classifies.
        rule: "official" or "jacobgil", see `avsd_jax.nn.grad_cam`.
        tag: the tag whose map is predicted, counted from 0; None for the one with the highest score in each clip.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    network: str = "scam_s"
    network_options: Mapping[str, Any] | ConfigDict = FrozenDict()
    num_tags: int = 28
    rule: str = "official"
    tag: int | None = None
    axis_name: str | None = None
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"frame_size": (256, 256), "preprocessing": "stanet", "sampler": "centred"}
    )

    def setup(self) -> None:
        """Shares the model's scope, so that the classifier's variables have no name prefix."""
        self.classifier = self._classifier()
        nn.share_scope(self, self.classifier)

    def _classifier(self, **flax: None) -> nn.Module:
        if self.network == "gradcam_pp":
            raise InputError("network=gradcam_pp is this model itself: give it a classifier of tags, such as scam_s")
        given = dict(self.network_options) | {"num_tags": self.num_tags, "axis_name": self.axis_name}
        return models.create(self.network, **given, **flax)

    @property
    def _described(self) -> nn.Module:
        """Returns the classifier without variables, to read its attributes."""
        return self._classifier(parent=None)

    @property
    def clip_size(self) -> int:
        """Returns the number of frames of the classifier's clips."""
        return self._described.clip_size

    @property
    def uses_audio(self) -> bool:
        """Returns whether the classifier reads audio."""
        return self._described.uses_audio

    @property
    def classifier_inputs(self) -> Any:
        """Returns the inputs of the consistency classifier that gates the classifier of tags; None without one."""
        return self._described.classifier_inputs

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Classifies each clip, and at inference maps its tag.

        Args:
            batch: what the classifier reads.
            train: use and update batch statistics; there are no maps.

        Returns:
            tag_logits and, if the classifier has them, side_tag_logits; at inference instead saliency [B, H, W] in
            [0, 1], logits [B, H, W], tag_scores [B, K] and tag [B].

        Raises:
            InputError: unknown rule, no such tag, or a network that classifies no tags at a feature with locations.
        """
        grad_cam.check_rule(self.rule)
        if self.tag is not None and not 0 <= self.tag < self.num_tags:
            raise InputError(f"tag={self.tag} of {self.num_tags} tags: give 0 to {self.num_tags - 1}, or None")
        if train or self.is_initializing():
            output = self.classifier(batch, train)
            return {key: output[key] for key in ("tag_logits", "side_tag_logits") if key in output}
        feature, gradient, scores, tag = self._explained(batch)
        height, width = read(batch, "video").shape[2:4]
        maps = grad_cam.normalised(_target_map(feature, gradient, len(scores), self.rule), self.rule)
        full = resize_bilinear(maps[..., None], (height, width))[..., 0]
        saliency = jnp.clip(full, 0, 1)
        return {"saliency": saliency, "logits": logits_of(saliency), "tag_scores": scores, "tag": tag}

    def _explained(
        self, batch: Mapping[str, Array]
    ) -> tuple[_Feature, _Feature, Float[Array, "b k"], Int[Array, " b"]]:
        """Returns the deepest feature, the gradient of the tag's score with respect to it, all scores and the tag."""
        classifier, variables = self.classifier.unbind()

        def run(change: Callable[[_Feature], _Feature]) -> dict[str, Array]:
            def at_deepest(next_method: Callable, args: Any, kwargs: Any, context: Any) -> Any:
                result = next_method(*args, **kwargs)
                return change(result) if context.method_name == "deepest" else result

            with nn.intercept_methods(at_deepest):
                return classifier.apply(variables, batch, train=False)

        found: list[jax.ShapeDtypeStruct] = []

        def seen(x: _Feature) -> _Feature:
            found.append(jax.ShapeDtypeStruct(x.shape, x.dtype))
            return x

        outputs = jax.eval_shape(lambda: run(seen))
        if not found or "tag_logits" not in outputs:
            raise InputError(
                f"{self.network} classifies no tags at a feature with locations: choose scam_s, vinet, ..."
            )

        def score(nudge: _Feature) -> tuple[Float[Array, ""], Any]:
            kept: list[_Feature] = []
            output = run(lambda x: kept.append(x) or x + nudge)
            scores = output["tag_scores"] if "tag_scores" in output else output["tag_logits"]
            tag = jnp.argmax(scores, -1) if self.tag is None else jnp.full(len(scores), self.tag)
            own = jnp.take_along_axis(scores, tag[:, None], -1)
            return jnp.sum(own), (jnp.float32(kept[-1]), scores, tag)

        gradient, (feature, scores, tag) = jax.grad(score, has_aux=True)(jnp.zeros(found[-1].shape, found[-1].dtype))
        return feature, jnp.float32(gradient), jnp.float32(scores), tag


def _target_map(feature: _Feature, gradient: _Feature, clips: int, rule: str) -> Float[Array, "b h w"]:
    """Returns the raw map of each clip's target frame.

    A feature of all frames [B * N, h, w, C] gives that of the middle frame. One of several times [B, t, h, w, C] is
    explained as a whole, and averaged over them.
    """
    if feature.ndim == 4:
        feature, gradient = (x.reshape(clips, -1, *x.shape[1:]) for x in (feature, gradient))
        middle = feature.shape[1] // 2
        return grad_cam.class_map(feature[:, middle], gradient[:, middle], rule)
    b, t, h, w, c = feature.shape
    flat = (x.reshape(b, t * h, w, c) for x in (feature, gradient))
    return jnp.mean(grad_cam.class_map(*flat, rule).reshape(b, t, h, w), axis=1)
