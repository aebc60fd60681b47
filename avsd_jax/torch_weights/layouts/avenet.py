"""AVE-Net, as its public port stores it, and the AVENet of "Localizing visual sounds the hard way"."""

from collections.abc import Mapping
from typing import Any

from avsd_jax.models import classifiers
from avsd_jax.models.classifiers.avenet_hardway import SCALE, SHIFT
from avsd_jax.torch_weights.layout import Layout, Shapes, variables, zeros


def _avenet(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return variables(classifiers.create("avenet"), zeros(1, 1, 64, 64, 3), zeros(1, 64, 64))


def _avenet_hardway(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return variables(classifiers.create("avenet_hardway"), zeros(1, 1, 64, 64, 3), zeros(1, 64, 64))


LAYOUTS = {
    "avenet": Layout(
        _avenet,
        rename=((r"(conv|bn)(\d)\.(\d)\.", r"\1\2_\3."),),
        swapped=("fc3.weight", "fc3.bias"),
        classifier="avenet",
    ),
    # Both networks have first layers for other inputs, and a classification layer.
    "avenet_hardway": Layout(
        _avenet_hardway,
        rename=((r"^audnet\.conv1\.", "audnet.conv1_a."),),
        unused=r"^imgnet\.conv1_(a|flow)\.|^audnet\.conv1(_flow)?\.|net\.fc\.",
        classifier="avenet_hardway",
        # The published network has no classification layer: the score's scale and shift are their initial values.
        constants=(("params/score/scale", SCALE), ("params/score/shift", SHIFT)),
    ),
}
