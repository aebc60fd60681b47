"""The base of gated models of sequences: every frame of a clip is fused and gated by itself."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from avsd_jax.batch import read
from avsd_jax.models.common.bistream import BiStream


class FramewiseBiStream(BiStream):
    """A `BiStream` whose V, [B * T, ...], has an example for each of the T frames of each clip.

    In training the classifier judges one moment of a clip, and its decision holds for all frames; otherwise every frame
    has a decision of its own.

    Attributes:
        of_frames: names of outputs, [B * T, ...], that become [B, T, ...]; all others have B in front.
    """

    of_frames: ClassVar[tuple[str, ...]] = ("saliency", "logits", "gate", "saliency_v", "saliency_av")
    hears_frames = True

    @property
    def num_maps(self) -> int:
        """Returns the number of frames: every one has a map."""
        return self.clip_size

    def step_entries(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the labels that the gate of `trained_as` reads, of every frame."""
        return super().step_entries({**batch, "avc_label": batch.get("frame_labels", batch["avc_label"])})

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Any]:
        """Predicts a map for each frame.

        Args:
            batch: as `BiStream` takes it; frame_labels [B, T] and avc_logits [B, T, 2] decide for single frames.
            train: use and update batch statistics, apply dropout.

        Returns:
            saliency [B, T, H, W] in [0, 1], its logits, gate [B, T] bool, and further features, as `BiStream`;
            avc_logits [B, 2], or [B, T, 2] if they were given so.
        """
        clips, frames = read(batch, "video").shape[:2]
        rows = dict(batch)
        labels = next((key for key in ("gate_label", "frame_labels", "avc_label") if key in batch), None)
        if labels is not None:
            rows["gate_label"] = for_frames(batch[labels], 0, frames)
        if "avc_logits" in batch:
            rows["avc_logits"] = for_frames(batch["avc_logits"], 1, frames)
        output = super().__call__(rows, train)
        result = {
            name: x.reshape(clips, frames, *x.shape[1:]) if name in self.of_frames else x for name, x in output.items()
        }
        if "avc_logits" in output:
            logits = output["avc_logits"].reshape(clips, frames, 2)
            of_each = "avc_logits" in batch and jnp.ndim(batch["avc_logits"]) == 3
            result["avc_logits"] = logits if of_each else logits[:, 0]
        return result

    def _classify(self, batch: Mapping[str, Array], train: bool) -> Float[Array, "bt 2"]:
        """Returns the classifier's logits for each frame: those that the batch has, or those of its clip."""
        logits = super()._classify(batch, train)
        given = "avc_logits" in batch and not self.is_initializing()
        return logits if given else jnp.repeat(logits, batch["video"].shape[1], axis=0)


def for_frames(values: Shaped[Array, "b ..."], axes: int, frames: int) -> Shaped[Array, "bt ..."]:
    """Returns what frames have, [B * T, ...], of what they, [B, T, ...], or their clips have, [B, ...].

    Args:
        values: of either.
        axes: behind those of clips and frames.
        frames: T.
    """
    values = jnp.asarray(values)
    if values.ndim == axes + 1:
        return jnp.repeat(values, frames, axis=0)
    return values.reshape(-1, *values.shape[2:])
