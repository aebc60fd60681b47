"""The consistency classifier of a run: of one that trains it alone, or of one that it gates."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax import linen as nn
from ml_collections import ConfigDict

from avsd_jax.errors import InputError
from avsd_jax.models import avc, classifiers
from avsd_jax.models.common.bistream import BiStream
from avsd_jax.runs import temperature
from avsd_jax.runs.checkpoint import NO_VARIABLES
from avsd_jax.runs.components import model_from_config

_PART = "classifier"


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A classifier with its weights.

    Attributes:
        model: the classifier as a model of its own.
        variables: its `{"params": ..., "batch_stats": ...}`.
        temperature: by which its logits are divided for probabilities; 1 if it is not calibrated.
    """

    model: avc.Model
    variables: Mapping[str, Any]
    temperature: float = 1.0

    @classmethod
    def of(cls, model: nn.Module, variables: Mapping[str, Any]) -> "Classifier | None":
        """Takes the classifier out of a model of its own or of a gated model; None if there is none.

        Args:
            model: the network.
            variables: of the network, as `load_for_inference` returns them.
        """
        if isinstance(model, avc.Model):
            return cls(model, *temperature.split(variables))
        if not isinstance(model, BiStream) or model.gate != "classifier":
            return None
        if _PART not in variables["params"] and classifiers.is_learned(model.classifier):
            return None
        own = {collection: tree[_PART] for collection, tree in variables.items() if _PART in tree}
        if "params" not in own:  # One without weights has no variables, and its temperature is not in its part.
            own = dict(NO_VARIABLES) | {name: variables[name] for name in ("calibration",) if name in variables}
        alone = avc.Model(
            classifier=model.classifier, classifier_options=model.classifier_options, precision=model.precision
        )
        return cls(alone, *temperature.split(own))

    @classmethod
    def without_weights(cls) -> "Classifier":
        """Returns the classifier that has nothing to learn, `correlation`."""
        return cls(avc.Model(classifier="correlation"), NO_VARIABLES)

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
        found = cls.of(model, variables)
        if found is None and not model.learned and model.gate == "classifier":
            raise InputError(
                f"{folder} ({config.model_name}) decides by the correlation that python -m avsd_jax.avc takes without "
                "a checkpoint, and that has nothing to calibrate: leave out --checkpoint, or give a classifier"
            )
        if found is None:
            raise InputError(
                f"{folder} has no classifier of audio-visual consistency ({config.model_name}, gate {model.gate}): "
                "give a converted classifier, a run of the model avc, or a run with --config.model.gate=classifier"
            )
        return found
