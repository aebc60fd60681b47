"""The consistency classifier of a run: of one that trains it alone, or of one that it gates."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from avsd_jax.errors import InputError
from avsd_jax.models import avc
from avsd_jax.runs.components import model_from_config

_PART = "classifier"


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A classifier with its weights.

    Attributes:
        model: the classifier as a model of its own.
        variables: its `{"params": ..., "batch_stats": ...}`.
    """

    model: avc.Model
    variables: Mapping[str, Any]

    @classmethod
    def from_run(cls, folder: str | Path, config: ConfigDict, variables: Mapping[str, Any]) -> "Classifier":
        """Takes the classifier out of a loaded run.

        Args:
            folder: of the run, for messages.
            config: the run's record.
            variables: what it learned.

        Raises:
            InputError: the run has no classifier.
        """
        model = model_from_config(config)
        if isinstance(model, avc.Model):
            return cls(model, variables)
        if model.classifier_inputs is None or _PART not in variables["params"]:
            raise InputError(
                f"{folder} has no classifier of audio-visual consistency ({config.model_name}, gate {model.gate}): "
                "give a converted classifier, a run of the model avc, or a run with --config.model.gate=classifier"
            )
        own = {collection: tree[_PART] for collection, tree in variables.items() if _PART in tree}
        return cls(avc.Model(classifier=model.classifier, classifier_options=model.classifier_options), own)
