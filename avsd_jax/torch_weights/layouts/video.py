"""Layouts of visual models of videos that were published for TensorFlow and Keras: DeepVS and ACLNet.

Of ACLNet's file only the names of VGG16's layers are certain; the others are ours, and are found by their shapes.
"""

from collections.abc import Mapping
from typing import Any

from avsd_jax import models
from avsd_jax.torch_weights.layout import Layout, Shapes, variables, zeros


def _aclnet(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return variables(models.create("aclnet"), {"video": zeros(1, 5, 64, 64, 3)})


def _deepvs(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return variables(models.create("deepvs"), {"video": zeros(1, 21, 448, 448, 3)})


_VGG16 = tuple(f"block{b}_conv{n}" for b, count in enumerate((2, 2, 3, 3, 3), 1) for n in range(1, count + 1))
_OTHERS = (*(f"att_conv{n}" for n in range(1, 6)), "conv_lst_m2d", "readout")

_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}

LAYOUTS = {
    "aclnet": Layout(
        _aclnet,
        rename=((r"^vgg\.conv(\d)\.(\d)\.", r"block\1_conv\2."), (r"\.weight$", ".kernel")),
        order="tensorflow",
        layers=(*_VGG16, *_OTHERS),
    ),
    "deepvs": Layout(
        _deepvs,
        rename=(
            (r"\.(\d+)\.", r"_\1."),
            (r"_norm\.(\w+)$", lambda match: f".batch_normalization.{_NORM[match[1]]}"),
            (r"^(lstm_layer\d)\.", r"\1"),
            (r"\.weight$", ".weights"),
            (r"\.bias$", ".biases"),
        ),
        # The state of the optimiser, and numbers of steps.
        unused=r"Adam|_power$|step$",
        transposed=r"^deconv",
        order="tensorflow",
    ),
}
