"""The base of bi-stream models: a visual stream V, an audio-visual stream AV and the survey's gate between them.

    video ──> encode_visual ──┬─────────────────> V  ─┐
                              └─> fuse <─ audio ─> AV ─┤ c ? AV : V ──> decode ──> map      gate_at=input
                                                       │
    avc_frames, avc_audio ──> classifier ──> c ────────┘

    with gate_at=output both are decoded, and c selects one of the two maps (eq. 2 to the letter).

A model defines its two streams by three methods; the gate is shared by all. By default the selection is hard and made
for each clip, so both positions of the gate give the same maps at inference; they differ in cost, and in training in
whether the decoder sees the stream that is not selected.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.core import FrozenDict
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from avsd_jax.batch import ClassifierInputs, read
from avsd_jax.errors import InputError
from avsd_jax.models import classifiers, fusions
from avsd_jax.models.common.network import Network
from avsd_jax.nn.gate import AVCGate

GATE_AT = ("input", "output")

Features = dict[str, Float[Array, "b ..."]]


class BiStream(Network):
    """The base of gated models; a subclass defines `encode_visual`, `fuse` and `decode`, and its published fusion.

    Attributes:
        fusion: module of `avsd_jax.models.fusions`.
        fusion_options: its options.
        gate: what opens the gate: "always", "never", "labels" or "classifier"; see `avsd_jax.nn.gate.AVCGate`.
        gate_at: its position: "input" selects the input of the decoder (the survey's text), "output" selects one of
            the maps of two decodings with the same weights (eq. 2 to the letter).
        gate_mix: what c is where the classifier decides: "hard", "straight_through" or "soft".
        train_gate: what opens a "classifier" gate in training, "predicted" or "labels".
        classifier: module of `avsd_jax.models.classifiers`; used only with gate="classifier".
        classifier_options: its options.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.

    The parameters of both streams exist whatever the gate, so that one checkpoint serves all of them.
    """

    fusion: str = "concat"
    fusion_options: Mapping[str, Any] | ConfigDict = FrozenDict()
    gate: str = "always"
    gate_at: str = "input"
    gate_mix: str = "hard"
    train_gate: str = "predicted"
    classifier: str = "l3net"
    classifier_options: Mapping[str, Any] | ConfigDict = FrozenDict()
    axis_name: str | None = None
    uses_audio = True

    @property
    def classifier_inputs(self) -> ClassifierInputs | None:
        """Returns the inputs of the gate's classifier; None unless gate="classifier"."""
        if self.gate != "classifier":
            return None
        return classifiers.inputs(self.classifier, self.classifier_options)

    @property
    def trained_as(self) -> "BiStream":
        """Returns the model gated by labels for one that is always open or closed: all train by one compiled step.

        It also computes the stream that a closed gate does not use.
        """
        return self.clone(gate="labels") if self.gate in ("always", "never") else self

    def step_entries(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the labels that the gate of `trained_as` reads."""
        if self.trained_as.gate != "labels":
            return {}
        labels = batch["avc_label"]
        constant = {"always": 1, "never": 0}.get(self.gate)
        return {"gate_label": labels if constant is None else np.full_like(labels, constant)}

    def encode_visual(self, batch: Mapping[str, Array], train: bool) -> tuple[Features, Float[Array, "b ..."]]:
        """Returns the features that both streams share, by name, and V, the decoder's input without fusion."""
        raise NotImplementedError

    def fuse(
        self, v: Float[Array, "b ..."], features: Features, batch: Mapping[str, Array], train: bool
    ) -> dict[str, Float[Array, "b ..."]]:
        """Returns the AV stream's features by name; `fused`, shaped like V, replaces V as the decoder's input."""
        raise NotImplementedError

    def decode(self, feature: Float[Array, "b ..."], features: Features, train: bool) -> Features:
        """Returns saliency and logits [B, H, W], and further features by name, from V or `fused`."""
        raise NotImplementedError

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Predicts a map for each clip.

        Args:
            batch: what `encode_visual` reads; audio [B, L], not read by gate="never"; for gate="classifier" also
                avc_frames [B, N, h, w, 3] and avc_audio [B, S] in [-1, 1], or instead avc_logits [B, 2], which the
                classifier gave before; avc_label [B] int (1, 0, -1 unlabelled) where the gate reads labels, or instead
                gate_label [B]. Other keys are ignored.
            train: use and update batch statistics, apply dropout.

        Returns:
            saliency [B, H, W] in [0, 1], logits [B, H, W], gate [B] bool (True: the fused stream is used; with
            gate_mix="soft" it has the larger weight) and the model's features by name; unless gate="never" also what
            `fuse` gives, `fused` among it; with gate="classifier" avc_logits [B, 2] (class 1 = consistent); with
            gate_at="output" saliency_v and, unless gate="never", saliency_av [B, H, W].

        Raises:
            InputError: an unknown option, a missing key, or sizes that do not fit.
        """
        switch = AVCGate(self.gate, self.train_gate, self.gate_mix)
        if self.gate_at not in GATE_AT:
            raise InputError(f"unknown gate_at {self.gate_at!r}: choose one of {', '.join(GATE_AT)}")
        out, v = self.encode_visual(batch, train)
        logits = None
        if self.gate == "classifier":
            out["avc_logits"] = logits = self._classify(batch, train)
        labels = None
        if switch.reads_labels(train):
            labels = read(batch, "gate_label" if "gate_label" in batch else "avc_label")
        out["gate"] = gate = switch(v.shape[0], logits, labels, train)
        combine = functools.partial(switch.combine, gate, logits=logits, train=train)

        if self.gate != "never" or self.is_initializing():
            flow = self.fuse(v, out, batch, train)
            self._check_shape(flow["fused"], v)
        if self.gate == "never":
            decoded = self.decode(v, out, train)
            return out | decoded | ({"saliency_v": decoded["saliency"]} if self.gate_at == "output" else {})
        out |= flow
        if self.gate_at == "input":
            return out | self.decode(combine(out["fused"], v), out, train)
        fused, plain = (self.decode(feature, out, train) for feature in (out["fused"], v))
        return out | _combined(combine, fused, plain)

    def make_fusion(self) -> nn.Module:
        """Creates the fusion that the options name, as the submodule `fusion`; for use in `fuse`."""
        return fusions.create(self.fusion, parent=None, **self.fusion_options).copy(name="fusion")

    def _classify(self, batch: Mapping[str, Array], train: bool) -> Float[Array, "b 2"]:
        """Returns the classifier's logits, those of the batch if it has them."""
        if "avc_logits" in batch and not self.is_initializing():
            return read(batch, "avc_logits")
        options = {"axis_name": self.axis_name} | dict(self.classifier_options)
        classifier = classifiers.create(self.classifier, parent=None, **options).copy(name="classifier")
        spectrogram = classifier.front_end(read(batch, "avc_audio"))
        return classifier(read(batch, "avc_frames"), spectrogram, train)

    def _check_shape(self, fused: Float[Array, "b ..."], v: Float[Array, "b ..."]) -> None:
        if fused.shape != v.shape:
            raise InputError(
                f"fusion {self.fusion!r} gives a feature of shape {fused.shape[1:]} where the decoder takes "
                f"{v.shape[1:]}: choose another fusion, or fusion_options that keep the visual feature's shape"
            )


def _combined(combine: Callable[..., Array], fused: Features, visual: Features) -> Features:
    """Applies eq. 2 to all outputs of the decoder; returns the two maps, too."""
    chosen = jax.tree.map(combine, fused, visual)
    return chosen | {"saliency_av": fused["saliency"], "saliency_v": visual["saliency"]}
