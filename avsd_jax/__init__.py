"""Audio-visual saliency detection in JAX.

The public names, loaded on first use:

    Predictor         a trained or converted model that predicts video files
    PicturePredictor  the same of still pictures
    load_model        the network and the variables of a trained or converted model
    score_maps        scores folders of maps against ground truth
    metrics           the saliency metrics as functions of arrays
"""

import importlib
from typing import Any

_HOMES = {
    "Predictor": ("avsd_jax.prediction.predictor", "Predictor"),
    "PicturePredictor": ("avsd_jax.prediction.picture_predictor", "PicturePredictor"),
    "load_model": ("avsd_jax.runs.checkpoint", "load_model"),
    "score_maps": ("avsd_jax.evaluation.evaluation", "evaluate"),
    "metrics": ("avsd_jax.metrics", None),
}

__all__ = ["PicturePredictor", "Predictor", "load_model", "metrics", "score_maps"]  # noqa: F822 (found by __getattr__)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    found = importlib.import_module(module)
    return found if attribute is None else getattr(found, attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
