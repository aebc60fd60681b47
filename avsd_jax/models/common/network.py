"""The base of all models that a configuration may name: what a model says of itself to the rest of a run."""

import contextlib
import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import ClassifierInputs
from avsd_jax.nn.sliding import Sliding

# Of float32 convolutions and matrix products; docs/models.md gives the error of each.
PRECISIONS = ("default", "high", "highest")
_LEAST_SIDE = 32


class Network(nn.Module):
    """A model of a configuration; a subclass overrides what is different for it, as an option or an attribute.

    Attributes:
        uses_audio: whether it reads `audio`.
        hears_frames: whether `audio` may be that of each frame of a clip, [B, T, S].
        clip_size: frames of a clip; a consistency classifier alone has its own clip, and takes one frame of this one.
        num_maps: of how many frames of a clip, from its first one on, it predicts a map; 0: of one frame, which the
            sampler chooses. See docs/video_models.md.
        map_stride: ratio of the frame's size to that of its maps.
        carries: whether it takes a state, the entry `carry` of a batch, from the clip before and returns the next one.
        num_tags: number of tags that it classifies; 0 for none.
        gate: what opens its gate, see `avsd_jax.nn.gate.AVCGate`; "never" without a gate.
        gate_mix: how its decision enters eq. 2; see the same.
        train_gate: what opens it in training.
        instances: number of training videos that it remembers one by one; 0 without such a memory.
        frozen: whether a part of it is never trained, and so has to come from an earlier run.
        learned: whether it has weights; a model without any needs no training and no checkpoint.
        weak: whether it is published as trained on predicted maps alone (`config.target_maps`).
        any_size: whether it takes frames of any height and width: prediction then keeps the aspect ratio of a video.
        defaults: fields of a configuration whose defaults are other ones for this model, except for `model`.
        precision: of `apply`, one of `PRECISIONS`: "highest" is float32 on every device, "high" and "default" are what
            `jax.lax.Precision` says of the device, where "default" follows `jax_default_matmul_precision` if that is
            set. As a part of the model it is a part of whatever identifies a compiled program.
    """

    precision: str = dataclasses.field(default="default", kw_only=True)

    uses_audio = False
    hears_frames = False
    clip_size = 1
    num_maps = 0
    map_stride = 1
    carries = False
    num_tags = 0
    gate = "never"
    gate_mix = "hard"
    train_gate = "predicted"
    instances = 0
    frozen = False
    learned = True
    weak = False
    any_size = False
    defaults = MappingProxyType({})

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Applies the model as `flax.linen.Module.apply` does, at its precision; gradients have it, too."""
        with self.at_precision():
            return super().apply(*args, **kwargs)

    def at_precision(self) -> contextlib.AbstractContextManager:
        """Returns the context in which parts of the model are traced that are computed without `apply`."""
        stated = self.precision != PRECISIONS[0]
        return jax.default_matmul_precision(self.precision) if stated else contextlib.nullcontext()

    def deepest(self, feature: Float[Array, "n *places c"]) -> Float[Array, "n *places c"]:
        """Returns the feature from which tags are classified, as it is.

        A classifier of tags passes its deepest feature that has locations through this method, where Grad-CAM++ finds
        it and takes the gradient (`avsd_jax.models.gradcam_pp`).
        """
        return feature

    @property
    def classifier_inputs(self) -> ClassifierInputs | None:
        """Returns the inputs of its consistency classifier; None without one."""
        return None

    def fitted_size(self, shown: tuple[int, int], configured: tuple[int, int]) -> tuple[int, int]:
        """Returns (height, width) of the frames that it gets of a video or a picture.

        Args:
            shown: of the video or the picture.
            configured: `config.frame_size`. If it takes `any_size`, the aspect ratio is kept, the longest side is no
                longer than the longest configured one, and no side is below 32 pixels.
        """
        if not self.any_size:
            return configured
        scale = min(1.0, max(configured) / max(shown))
        return max(_LEAST_SIDE, round(shown[0] * scale)), max(_LEAST_SIDE, round(shown[1] * scale))

    def still(self) -> "Network | None":
        """Returns what maps single pictures, clips of one frame, by the same variables; None: it needs a video."""
        alone = self.clip_size == 1 and not self.carries and not self.uses_audio and self.classifier_inputs is None
        return self if alone else None

    def start(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the variables of the first step, given those that were drawn or taken from earlier runs."""
        return dict(variables)

    def sliding(self) -> Sliding | None:
        """Returns its video encoder for sliding windows, whose taps are a batch's entry `taps`; None: none."""
        return None

    @property
    def trained_as(self) -> "Network":
        """Returns the model whose training step this one shares, if its batches get what `step_entries` returns."""
        return self

    def step_entries(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the entries that the step of `trained_as` reads beside those of a batch."""
        del batch
        return {}
