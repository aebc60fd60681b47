"""AVID's self-supervised pre-training as a model: the embeddings of a classifier `avid`, and their memory.

A run of this model learns which audio belongs to which video, from no labels (AVID), and then which videos are alike
(CMA, with `positives`). It initialises a model `avc` with the classifier `avid`, or the classifier of a gated model.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict
from jaxtyping import Array
from ml_collections import ConfigDict

from avsd_jax.batch import ClassifierInputs, read
from avsd_jax.errors import InputError
from avsd_jax.models import classifiers
from avsd_jax.models.common.network import Network
from avsd_jax.nn import cross_modal_nce as nce


class Model(Network):
    """The encoders and projections of `avid`, and the memory of the embeddings of all training videos.

    Attributes:
        instances: rows of the memory: the number of training videos.
        negatives: rows that each pair is compared with.
        positives: videos that are alike, of each one: officially 32 in CMA; 0 for AVID. They are found once, before
            the first step, in the memory of the run in `init`.
        within_negatives: how many of the negatives are compared within a modality (CMA).
        agreement: how videos that are alike are found, see `avsd_jax.nn.cross_modal_nce.mine_positives`.
        classifier_options: the options of `avid`.
        axis_name: the pmap axis over which statistics are averaged and embeddings are gathered.
    """

    instances: int = 0
    negatives: int = nce.NEGATIVES
    positives: int = 0
    within_negatives: int = nce.WITHIN_NEGATIVES
    agreement: str = "consensus"
    classifier_options: Mapping[str, Any] | ConfigDict = FrozenDict()
    axis_name: str | None = None

    @property
    def classifier_inputs(self) -> ClassifierInputs:
        """Returns the inputs of `avid`."""
        return classifiers.inputs("avid", self.classifier_options)

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Embeds each clip; in training also compares it with the memory, and updates that.

        Args:
            batch: avc_frames [B, N, h, w, 3], ImageNet-normalised, and avc_audio [B, S] in [-1, 1]; in training also
                video_index [B], rows of the memory.
            train: use and update batch statistics and the memory.

        Returns:
            avid_video and avid_audio [B, D], not normalised; in training also the losses avid_nce and, with
            `positives`, cma_nce [B].

        Raises:
            InputError: the batch lacks frames, audio or the videos' numbers; or an option does not fit `instances`.
        """
        self._check()
        options = {"axis_name": self.axis_name} | dict(self.classifier_options)
        classifier = classifiers.create("avid", **options)
        # The variables have the classifier's own names, so that they fit under `classifier` of a gated model.
        nn.share_scope(self, classifier)
        spectrogram = classifier.front_end(read(batch, "avc_audio"))
        embedded = classifier.embed(read(batch, "avc_frames"), spectrogram, train)
        video, audio = (embedded[name].astype(jnp.float32) for name in ("video", "audio"))
        memory, similar = self._memory(video.shape[-1])
        out = {"avid_video": video, "avid_audio": audio}
        if not train:
            return out
        before, rows = nce.Memory(**memory.value), read(batch, "video_index")
        # The step's key for draws of any kind has this name.
        key, positives = self.make_rng("dropout"), None if similar is None else similar.value[rows]
        if positives is None:
            negatives = nce.draw_negatives(key, rows, self.instances, self.negatives)
        else:
            negatives = nce.draw_negatives_outside(key, positives, self.instances, self.negatives)
            within = negatives[:, : self.within_negatives]
            out["cma_nce"], _ = nce.agreement_loss(video, audio, before, positives, within)
        out["avid_nce"], terms = nce.avid_loss(video, audio, before, rows, negatives, axis_name=self.axis_name)
        everywhere = [x if self.axis_name is None else self._gathered(x) for x in (video, audio, rows)]
        after = nce.update_memory(before, *everywhere, terms["z"])
        memory.value = _as_dict(after)
        return out

    def start(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Finds the videos that are alike, for CMA.

        Raises:
            InputError: the memory is that of no run.
        """
        variables = dict(variables)
        if not self.positives:
            return variables
        statistics = variables["batch_stats"]
        memory = nce.Memory(**jax.tree.map(jnp.asarray, statistics["memory"]))
        if not memory.z > 0:
            raise InputError(
                f"model.positives={self.positives} are found in the memory of a run of AVID: give its folder as init"
            )
        found = nce.mine_positives(memory, self.positives, self.agreement)
        return variables | {"batch_stats": {**statistics, "similar": jax.device_get(found)}}

    def _memory(self, features: int) -> tuple[nn.Variable, nn.Variable | None]:
        """Returns the memory and, for CMA, the rows of videos that are alike [instances, positives].

        They are running statistics of the data, like those of BatchNorm, and are kept and saved with them.
        """

        def new() -> dict[str, Array]:
            return _as_dict(nce.init_memory(self.make_rng("params"), self.instances, features))

        memory = self.variable("batch_stats", "memory", new)
        if not self.positives:
            return memory, None
        shape = (self.instances, self.positives)
        return memory, self.variable("batch_stats", "similar", lambda: jnp.zeros(shape, jnp.int32))

    def _gathered(self, x: Array) -> Array:
        return jax.lax.all_gather(x, self.axis_name, tiled=True)

    @nn.nowrap
    def _check(self) -> None:
        least = self.positives + 2
        if self.instances < least:
            raise InputError(
                f"model.instances={self.instances} is too small: give the number of training videos, {least} or more"
            )
        if self.agreement not in nce.AGREEMENTS:
            raise InputError(f"unknown agreement {self.agreement!r}: choose one of {', '.join(nce.AGREEMENTS)}")


def _as_dict(memory: nce.Memory) -> dict[str, Array]:
    return {"video": memory.video, "audio": memory.audio, "z": memory.z}
