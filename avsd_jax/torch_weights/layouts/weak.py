"""Layouts of weakly supervised networks of images: MWS's code, Caffe's files of WSS, SBF and VGG16, DenseNet.

Layers of Caffe's files have the names of the public network definitions. In MWS's files, DenseNet's layers are counted
from 0.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from avsd_jax import models
from avsd_jax.torch_weights.layout import Layout, Renames, Shapes, variables, zeros


def _of_model(name: str, size: int = 64) -> Callable[[Mapping[str, Any], Shapes], dict[str, Any]]:
    def build(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
        return variables(models.create(name, **options), {"video": zeros(1, 1, size, size, 3)})

    return build


def _width(shapes: Shapes) -> dict[str, Any]:
    """Infers the width from the first convolution's channels."""
    channels = shapes.get("conv1_1.weight", (64,))[0]
    return {} if channels == 64 else {"width": channels / 64}


def _classifier_options(shapes: Shapes) -> dict[str, Any]:
    """Infers the number of tags, and the kind of the pool from its kernel."""
    num_tags = shapes.get("classifier.bias", (200,))[0]
    return _pool(shapes, "") | ({} if num_tags == 200 else {"num_tags": num_tags})


def _captioner_options(shapes: Shapes) -> dict[str, Any]:
    """Infers the size of the vocabulary, and the kind of the pool."""
    words = shapes.get("decoder.linear.bias", (0,))[0]
    return _pool(shapes, "encoder.") | ({"words": words} if words else {})


def _pool(shapes: Shapes, prefix: str) -> dict[str, Any]:
    return {"pool": "free"} if shapes.get(f"{prefix}param_pool.conv.weight", ())[2:] == (16, 16) else {}


# The names that Flax's layers of Caffe have here: a last number has become a part of its own.
_CAFFE_NAMES: Renames = (
    (r"^vgg\.", ""),
    (r"(conv\d)\.(\d)\.", r"\1_\2."),
    (r"^bn_(.*)\.(weight|bias)$", r"scale_\1.\2"),
)


def _layer(match: re.Match[str]) -> str:
    return f"{match[1]}.{int(match[2]) - 1}."


_MWS_NAMES: Renames = (
    (r"^feature\.", "feature.features."),
    (r"(denseblock\d)\.denselayer(\d+)\.", _layer),
    (r"(transition\d)\.norm\.", r"\1.0."),
    (r"(transition\d)\.conv\.", r"\1.2."),
)
# The tests' code has a list of heads, of which it uses the first.
_TEST_NAMES: Renames = (*_MWS_NAMES, (r"^pred\.", "preds.0."))
_OF_ENCODER: Renames = ((r"^(?!decoder\.)", "encoder."), (r"embed\.embedding$", "embed.weight"))
# Layers that have two names in the file.
_TWICE = r"feature\.(features\.(block0|denseblock4\.32)\.|classifier\.)"
_IDLE = rf"{_TWICE}|preds\.[1-4]\.|upscales\.|param_pool\.conv\.bias$"

LAYOUTS = {
    "wss": Layout(_of_model("wss"), _width, rename=_CAFFE_NAMES, transposed=r"^upscore\d\."),
    "sbf": Layout(_of_model("sbf", 224), _width, rename=_CAFFE_NAMES, unused=r"_UpSmp\.|^convRCL\d[bc]\."),
    "vgg16": Layout(_of_model("vgg16"), _width, rename=_CAFFE_NAMES, unused=r"^fc[678]\."),
    "mws": Layout(_of_model("mws"), rename=_MWS_NAMES, unused=_TWICE, transposed=r"^upscale\."),
    "densenet169": Layout(_of_model("densenet169"), rename=((r"^", "features."),), unused=r"^classifier\."),
}

BY_KEY = {
    "mws_classifier": {
        "preds.0.weight": Layout(
            _of_model("mws_classifier", 256), _classifier_options, rename=_TEST_NAMES, unused=_IDLE
        ),
        "pred.weight": Layout(_of_model("mws_classifier", 256), _classifier_options, rename=_MWS_NAMES, unused=_IDLE),
    },
    "mws_captioner": {
        # Its decoder reads another feature, and is not needed for maps.
        "encoder.preds.0.weight": Layout(
            _of_model("mws_captioner"),
            rename=(*_TEST_NAMES, *_OF_ENCODER),
            unused=rf"{_IDLE}|^decoder\.|^encoder\.linear\.",
        ),
        "encoder.pred.weight": Layout(
            _of_model("mws_captioner", 256), _captioner_options, rename=(*_MWS_NAMES, *_OF_ENCODER), unused=_IDLE
        ),
    },
}
