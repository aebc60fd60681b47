"""The gate by audio-visual consistency (AVC), eq. 2 of the survey: `c * fuse(AV, V) + (1 - c) * V`.

`c` is hard by default, 0 or 1 for each clip. A selection instead of a weighted sum keeps the stream that is not chosen
from affecting the result, even if it is not finite, and passes no gradient to the decision: a classifier learns from
its own loss (eq. 3). With its probability instead of a decision (`MIXES`), the saliency loss trains it, too.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from avsd_jax.errors import InputError

SOURCES = ("always", "never", "labels", "classifier")
TRAIN_SOURCES = ("predicted", "labels")
MIXES = ("hard", "straight_through", "soft")


def predicted_consistent(logits: Float[Array, "b 2"]) -> Bool[Array, " b"]:
    """Returns where a classifier's logits favour class 1, consistent (a tie does not)."""
    return jnp.argmax(lax.stop_gradient(logits), axis=-1) == 1


def labelled_consistent(labels: Int[Array, " b"]) -> Bool[Array, " b"]:
    """Returns where the AVC label is 1; inconsistent (0) and unlabelled (-1) clips use the visual stream alone."""
    return labels == 1


def select(
    gate: Bool[Array, " b"], if_consistent: Float[Array, " b *rest"], otherwise: Float[Array, " b *rest"]
) -> Float[Array, " b *rest"]:
    """Selects one or the other for each clip (eq. 2)."""
    return jnp.where(jnp.expand_dims(gate, range(1, otherwise.ndim)), if_consistent, otherwise)


@dataclasses.dataclass(frozen=True)
class AVCGate:
    """Decides for each clip whether the fused stream is used.

    Attributes:
        source: "classifier" (the survey's * rows, predicted), "labels" (its # row, eq. 7), "always" (the
            AVC-unaware model) or "never" (visual only).
        train_source: what opens a "classifier" gate in training: "predicted", as in testing (the survey, end
            of section V-C), or "labels" (teacher forcing). Unused by the other sources.
        mix: what c is where the classifier decides, from its probability p of consistency: "hard" (1 if p > 0.5,
            otherwise 0), "straight_through" (the same value, but the gradient of p) or "soft" (p). Only "hard" keeps
            a stream that is not finite from affecting the result.

    Raises:
        InputError: an unknown source or mix.
    """

    source: str = "classifier"
    train_source: str = "predicted"
    mix: str = "hard"

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise InputError(f"unknown gate {self.source!r}: choose one of {', '.join(SOURCES)}")
        if self.train_source not in TRAIN_SOURCES:
            raise InputError(f"unknown train_gate {self.train_source!r}: choose one of {', '.join(TRAIN_SOURCES)}")
        if self.mix not in MIXES:
            raise InputError(f"unknown gate_mix {self.mix!r}: choose one of {', '.join(MIXES)}")

    def reads_labels(self, train: bool) -> bool:
        """Returns whether `__call__` needs labels."""
        forced = train and self.train_source == "labels"
        return self.source == "labels" or (self.source == "classifier" and forced)

    def __call__(
        self,
        batch_size: int,
        logits: Float[Array, "b 2"] | None = None,
        labels: Int[Array, " b"] | None = None,
        train: bool = False,
    ) -> Bool[Array, " b"]:
        """Returns True where the fused stream is used.

        Args:
            batch_size: number of clips.
            logits: of the classifier, class 1 = consistent; read by "classifier".
            labels: 1 consistent, 0 inconsistent, -1 unlabelled; read where `reads_labels` says so.
            train: whether this is a training step.

        Raises:
            InputError: an input that the source reads is missing.
        """
        if self.reads_labels(train):
            if labels is None:
                raise InputError("the gate reads labels: add the key 'avc_label' to the batch")
            return labelled_consistent(labels)
        if self.source == "classifier":
            if logits is None:
                raise InputError("the gate 'classifier' needs the classifier's logits: pass them")
            return predicted_consistent(logits)
        return jnp.full((batch_size,), self.source == "always")

    def combine(
        self,
        gate: Bool[Array, " b"],
        if_consistent: Float[Array, " b *rest"],
        otherwise: Float[Array, " b *rest"],
        logits: Float[Array, "b 2"] | None = None,
        train: bool = False,
    ) -> Float[Array, " b *rest"]:
        """Applies eq. 2 with the `c` of `mix`.

        Args:
            gate: the decision, as `__call__` returned it.
            if_consistent: the fused stream.
            otherwise: the visual stream.
            logits: of the classifier; read where it decides and c is not hard.
            train: whether this is a training step.
        """
        if self.mix == "hard" or self.source != "classifier" or self.reads_labels(train):
            return select(gate, if_consistent, otherwise)
        p = jax.nn.softmax(logits)[:, 1].astype(otherwise.dtype)
        p = jnp.expand_dims(p, range(1, otherwise.ndim))
        if self.mix == "soft":
            return p * if_consistent + (1 - p) * otherwise
        return select(gate, if_consistent, otherwise) + (p - lax.stop_gradient(p)) * (if_consistent - otherwise)
