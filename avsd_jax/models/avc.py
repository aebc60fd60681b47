"""A classifier of audio-visual consistency as a model, to pretrain it before a saliency model uses it as its gate.

The survey (section V-C) trains the classifier first and then integrates it; `config.init_parts.classifier` of a
gated model names a run of this one.
"""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from flax.core import FrozenDict
from jaxtyping import Array
from ml_collections import ConfigDict

from avsd_jax.batch import ClassifierInputs, read
from avsd_jax.models import classifiers
from avsd_jax.models.common.network import Network


class Model(Network):
    """`avsd_jax.models.classifiers.<classifier>` on a batch.

    Attributes:
        classifier: module of `avsd_jax.models.classifiers`.
        classifier_options: its options.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    classifier: str = "l3net"
    classifier_options: Mapping[str, Any] | ConfigDict = FrozenDict()
    axis_name: str | None = None

    @property
    def classifier_inputs(self) -> ClassifierInputs:
        """Returns the inputs of the classifier."""
        return classifiers.inputs(self.classifier, self.classifier_options)

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Classifies each clip.

        Args:
            batch: avc_frames [B, N, h, w, 3], ImageNet-normalised, and avc_audio [B, S] in [-1, 1].
            train: use and update batch statistics.

        Returns:
            avc_logits [B, 2], class 1 = consistent.

        Raises:
            InputError: the batch lacks frames or audio.
        """
        options = {"axis_name": self.axis_name} | dict(self.classifier_options)
        classifier = classifiers.create(self.classifier, **options)
        # The variables have the classifier's own names, so that they fit under `classifier` of a gated model.
        nn.share_scope(self, classifier)
        spectrogram = classifier.front_end(read(batch, "avc_audio"))
        return {"avc_logits": classifier(read(batch, "avc_frames"), spectrogram, train)}
