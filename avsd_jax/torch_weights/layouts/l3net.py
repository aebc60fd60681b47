"""Layout of L3-Net's public port."""

from collections.abc import Mapping
from typing import Any

from avsd_jax.models import classifiers
from avsd_jax.torch_weights.layout import Layout, Shapes, variables, zeros


def _l3net(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return variables(classifiers.create("l3net"), zeros(1, 1, 64, 64, 3), zeros(1, 64, 64))


LAYOUTS = {
    "l3net": Layout(_l3net, rename=((r"(conv|bn)(\d)\.(\d)\.", r"\1\2_\3."),), swapped=("fc2.weight", "fc2.bias")),
}
