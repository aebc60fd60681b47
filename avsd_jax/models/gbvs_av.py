"""Saliency of videos with sound without any training: GBVS, motion, and the regions that change along with the audio.

    two frames ──> GBVS with flicker and motion ──────────────> V ─────────┐
                                                                │          │ c ? AV : V ──> map
    frames and audio ──> correlation ──┬──> regions ──> V (1 + regions²) ──┘
                                       └──> c: does any region agree?

A hand-crafted counterpart of the gated models (survey, section IV.B, with the gate of eq. 2). V is that of
`avsd_jax.handcrafted.image.gbvs`; regions and decision are those of `avsd_jax.handcrafted.fusion.moving_regions`. How
they are put together is our own.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from avsd_jax.batch import ClassifierInputs, read
from avsd_jax.handcrafted.fusion import moving_regions
from avsd_jax.handcrafted.image import gbvs
from avsd_jax.handcrafted.image.maps import logits_of, min_max, resize_bicubic, unit_float
from avsd_jax.models import classifiers
from avsd_jax.models.common.network import Network
from avsd_jax.nn.gate import AVCGate

# Of a pixel's channels in [0, 1].
_LEAST_CHANGE = 0.04


class Model(Network):
    """GBVS with motion, raised where the picture changes along with the audio, if it does anywhere.

    Attributes:
        clip_size: frames of a clip; the last two are compared.
        cues: letters of GBVS's channels, see `avsd_jax.handcrafted.image.gbvs.Options`.
        strength: how much a region that agrees best is raised, relative to one that does not agree.
        gate: what opens the gate: "classifier" (the correlation itself), "labels", "always" or "never" (V alone); see
            `avsd_jax.nn.gate.AVCGate`.
        classifier_options: of the correlation, which decides what frames and audio are compared; see
            `avsd_jax.models.classifiers.correlation.Classifier`.
    """

    learned = False
    any_size = True
    defaults = MappingProxyType({"preprocessing": "unit", "frame_size": (360, 640)})

    clip_size: int = 2
    cues: str = "DIOFM"
    strength: float = 8.0
    gate: str = "classifier"
    classifier_options: Mapping[str, Any] | ConfigDict = FrozenDict()

    @property
    def classifier_inputs(self) -> ClassifierInputs | None:
        """Returns the frames and the audio that are compared; None where the visual stream is alone."""
        if self.gate == "never":
            return None
        return classifiers.inputs("correlation", self.classifier_options)

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Computes one map for each clip.

        Args:
            batch: {"video": [B, T, H, W, 3]}, RGB in [0, 1] or bytes; unless gate="never" also avc_frames
                [B, N, h, w, 3], ImageNet-normalised, and avc_audio [B, S] in [-1, 1]; for gate="labels" also avc_label
                [B]. Other keys are ignored.
            train: changes nothing.

        Returns:
            saliency [B, H, W] in [0, 1], logits [B, H, W], gate [B] bool and master [B, h, w], V before it is
            enlarged; unless gate="never" also regions [B, h, w] in [0, 1], and avc_logits [B, 2] (1: consistent).

        Raises:
            InputError: an unknown option, or a missing key.
        """
        switch = AVCGate(self.gate)
        video = read(batch, "video")
        now, before = unit_float(video[:, -1]), unit_float(video[:, max(0, video.shape[1] - 2)])
        # GBVS finds a peak in any map: what compression changes in a still picture must not become motion.
        before = jnp.where(jnp.abs(now - before) < _LEAST_CHANGE, now, before)
        visual = gbvs.gbvs(now, gbvs.Options(cues=self.cues), before)["master"]
        out = {"master": visual}
        if self.gate != "never":
            compared = moving_regions.agreement(read(batch, "avc_frames"), read(batch, "avc_audio"))
            out |= {"regions": compared.regions, "avc_logits": compared.logits}
        labels = read(batch, "avc_label") if switch.reads_labels(train) else None
        out["gate"] = gate = switch(visual.shape[0], out.get("avc_logits"), labels, train)
        chosen = visual
        if self.gate != "never":
            chosen = switch.combine(gate, self._raised(visual, compared.regions), visual)
        saliency = min_max(resize_bicubic(chosen, now.shape[1:3]))
        return out | {"saliency": saliency, "logits": logits_of(saliency)}

    def _raised(self, visual: Float[Array, "b h w"], regions: Float[Array, "b g g"]) -> Float[Array, "b h w"]:
        """Returns V * (1 + A): the fusion with the square of the regions' agreement as A."""
        agreement = min_max(jax.image.resize(regions, visual.shape, "bilinear"))
        return min_max(visual * (1 + self.strength * agreement**2))
