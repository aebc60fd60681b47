"""AVID, as AVID-CMA stores it, and with the head of AVSpatialAlignment."""

from collections.abc import Mapping
from typing import Any

from avsd_jax.models import classifiers
from avsd_jax.torch_weights.layout import Layout, Shapes, variables, zeros

_INPUTS = (zeros(1, 8, 32, 32, 3), zeros(1, 16, 257))


def _avid(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """Returns the variables of the encoders and the projections."""
    return variables(classifiers.create("avid"), *_INPUTS, method="embed")


def _avid_avchead(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """Returns the variables of the encoders and the head; AVSpatialAlignment has no projections."""
    tree = variables(classifiers.create("avid"), *_INPUTS)
    params = {name: part for name, part in tree["params"].items() if not name.endswith("_proj")}
    return {**tree, "params": params}


LAYOUTS = {
    "avid": Layout(_avid, classifier="avid"),
    "avid_avchead": Layout(
        _avid_avchead,
        rename=((r"^(video|audio)_model\.", r"\1_feat."),),
        unused=r"^(video|audio)_proj\.",
        swapped=("classifier.2.weight", "classifier.2.bias"),
        classifier="avid",
    ),
}
