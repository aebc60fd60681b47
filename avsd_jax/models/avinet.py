"""AViNet, made aware of audio-visual consistency (AVC) by the survey's switch.

AViNet (Jain et al., "ViNet", IROS 2021) is ViNet whose deepest feature is replaced by a fusion with
SoundNet's audio feature. The survey (section V-C, eq. 2) adds a classifier of audio-visual consistency that
decides for each clip whether the fused flow or vision alone is used.
"""

from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from avsd_jax.errors import InputError
from avsd_jax.models import classifiers, fusions, vinet
from avsd_jax.nn.conv3d import Lowering
from avsd_jax.nn.gate import AVCGate, select
from avsd_jax.nn.soundnet import SoundNet

GATE_AT = ("input", "output")


class Model(nn.Module):
    """AViNet; with the default options exactly the official network, which no gate switches.

    Attributes:
        clip_size, num_skips, width, lowering, axis_name, norm_momentum, num_tags: see
            `avsd_jax.models.vinet.Model`; the width also scales SoundNet, whose last layer always has as
            many channels as the visual feature.
        fusion: module of `avsd_jax.models.fusions`.
        fusion_options: its options.
        gate: what opens the gate: "always", "never", "labels" or "classifier"; see
            `avsd_jax.nn.gate.AVCGate`.
        gate_at: where it sits: "input" chooses what enters the decoder (the survey's text), "output" chooses
            between the maps of two decodings with the same weights (eq. 2 to the letter).
        train_gate: what opens a "classifier" gate in training, "predicted" or "labels".
        classifier: module of `avsd_jax.models.classifiers`; used only with gate="classifier".
        classifier_options: its options.

    The parameters of SoundNet and of the fusion exist whatever the gate, so that one checkpoint serves all of
    them.
    """

    clip_size: int = 32
    num_skips: int = 3
    width: float = 1.0
    lowering: Lowering = "auto"
    axis_name: str | None = None
    norm_momentum: float = 0.999
    num_tags: int = 0
    fusion: str = "bilinear"
    fusion_options: Mapping[str, Any] | ConfigDict = FrozenDict()
    gate: str = "always"
    gate_at: str = "input"
    train_gate: str = "predicted"
    classifier: str = "l3net"
    classifier_options: Mapping[str, Any] | ConfigDict = FrozenDict()
    hears = True

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Predicts the saliency map of each clip's last frame.

        Args:
            batch: video [B, T, H, W, 3], ImageNet-normalised; audio [B, L], waveform times 256, not read by
                gate="never"; for gate="classifier" also avc_frames [B, N, h, w, 3] and avc_audio [B, S] in
                [-1, 1]; avc_label [B] int (1, 0, -1 unlabelled) where the gate reads labels. Other keys are
                ignored.
            train: use and update batch statistics, apply dropout.

        Returns:
            saliency [B, H, W] in [0, 1], logits [B, H, W], gate [B] bool (True: the fused flow is used), the
            features stem, y3, y2, y1, y0, dec_in, dec1, dec2, dec3 [B, T', H', W', C]; with `num_tags`
            tag_logits [B, K]; unless gate="never" also audio_features [B, N, C] and fused [B, T', H', W',
            C]; with gate="classifier" avc_logits [B, 2] (class 1 = consistent); with gate_at="output"
            saliency_v and, unless gate="never", saliency_av [B, H, W].

        Raises:
            InputError: an unknown option, a missing key, or sizes that do not fit.
        """
        switch = AVCGate(self.gate, self.train_gate)
        if self.gate_at not in GATE_AT:
            raise InputError(f"unknown gate_at {self.gate_at!r}: choose one of {', '.join(GATE_AT)}")
        options = (
            self.clip_size,
            self.num_skips,
            self.width,
            self.lowering,
            self.axis_name,
            self.norm_momentum,
            self.num_tags,
        )
        visual = vinet.Model(*options, name="visual_model")
        out = visual.encode(_get(batch, "video"), train)
        out |= visual.tell(out["y0"])

        logits = None
        if self.gate == "classifier":
            out["avc_logits"] = logits = self._classify(batch, train)
        labels = _get(batch, "avc_label") if switch.reads_labels(train) else None
        out["gate"] = gate = switch(batch["video"].shape[0], logits, labels, train)

        if self.gate != "never" or self.is_initializing():
            flow = self._fuse(out["y0"], batch, train)
        if self.gate == "never":
            decoded = visual.decode(out["y0"], out, train)
            return out | decoded | ({"saliency_v": decoded["saliency"]} if self.gate_at == "output" else {})
        out |= flow
        if self.gate_at == "input":
            return out | visual.decode(select(gate, out["fused"], out["y0"]), out, train)
        fused, plain = (visual.decode(out[name], out, train) for name in ("fused", "y0"))
        return out | _choose(gate, fused, plain)

    def _fuse(
        self, y0: Float[Array, "b t h w c"], batch: Mapping[str, Array], train: bool
    ) -> dict[str, Float[Array, "b ..."]]:
        """The audio feature and its fusion with the visual one."""
        encoder = SoundNet(self.width, y0.shape[-1], self.axis_name, name="audionet")
        audio = encoder(_get(batch, "audio"), train)["conv7"]
        fusion = fusions.create(self.fusion, parent=None, **self.fusion_options).copy(name="fusion")
        return {"audio_features": audio, "fused": fusion(y0, audio, train)}

    def _classify(self, batch: Mapping[str, Array], train: bool) -> Float[Array, "b 2"]:
        """The classifier's logits."""
        options = {"axis_name": self.axis_name} | dict(self.classifier_options)
        classifier = classifiers.create(self.classifier, parent=None, **options).copy(name="classifier")
        spectrogram = classifier.front_end(_get(batch, "avc_audio"))
        return classifier(_get(batch, "avc_frames"), spectrogram, train)


def _choose(
    gate: Bool[Array, " b"], fused: dict[str, Float[Array, "b ..."]], visual: dict[str, Float[Array, "b ..."]]
) -> dict[str, Float[Array, "b ..."]]:
    """Eq. 2 on all that the decoder gives; the two maps themselves too."""
    chosen = jax.tree.map(lambda av, v: select(gate, av, v), fused, visual)
    return chosen | {"saliency_av": fused["saliency"], "saliency_v": visual["saliency"]}


def _get(batch: Mapping[str, Array], key: str) -> Array:
    if key not in batch:
        raise InputError(f"the batch has no {key!r}, which this model reads: add it, or choose another gate")
    return batch[key]
