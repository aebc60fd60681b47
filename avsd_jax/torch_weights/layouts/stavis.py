"""Layouts of STAViS's official code: the model, its Kinetics trunk and its SoundNet."""

import re
from collections.abc import Mapping
from typing import Any

from avsd_jax import models
from avsd_jax.nn.soundnet import MIN_SAMPLES, min_samples
from avsd_jax.torch_weights.layout import Layout, Shapes, variables, zeros


def _stavis(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    batch = {"video": zeros(1, 16, 32, 32, 3), "audio": zeros(1, min_samples(2))}
    return variables(models.create("stavis"), batch)


def _stavis_visual(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return variables(models.create("stavis_visual"), {"video": zeros(1, 16, 32, 32, 3)})


def _resnet50_kinetics(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return variables(models.create("resnet50_kinetics"), {"video": zeros(1, 16, 32, 32, 3)})


# STAViS's SoundNet is one sequence: layers, activations and pools are counted.
_SOUNDNET_SEQUENCE = dict(enumerate((0, 4, 8, 11, 14, 18, 21), start=1))


def _soundnet8(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return variables(models.create("soundnet8"), {"audio": zeros(1, MIN_SAMPLES)})


def _sequence_key(match: re.Match[str]) -> str:
    return f"soundnet8.{_SOUNDNET_SEQUENCE[int(match[2])] + (match[1] == 'batchnorm')}."


_NOT_HEARD = r"^(?!soundnet8\.)|^soundnet8\.(2[4-9]|3\d)\."

LAYOUTS = {
    "stavis": Layout(
        _stavis,
        rename=(
            (r"^visual_model\.head\.", "fuse."),
            (r"^visual_model\.(trunk\.)?", ""),
            (r"^head\.", "fuseav."),
            (r"^fusion\.", "fusion3."),
            (r"^soundnet8\.(conv|batchnorm)(\d)\.", _sequence_key),
        ),
        transposed=r"\.upscale_?\.",
    ),
    "stavis_visual": Layout(
        _stavis_visual,
        rename=((r"^head\.", "fuse."), (r"^trunk\.", "")),
        unused=r"^(?!(conv1|bn1|layer[123]|score_dsn|fuse)\.)",  # the official code ignores the others
        transposed=r"\.upscale_?\.",
    ),
    "resnet50_kinetics": Layout(_resnet50_kinetics, unused=r"^(layer4|fc)\."),
}

# The initial file of STAViS's training has the same sequence, identified by one of its keys.
BY_KEY = {
    "soundnet8": {
        "soundnet8.0.weight": Layout(
            _soundnet8, rename=((r"^(conv|batchnorm)(\d)\.", _sequence_key),), unused=_NOT_HEARD
        )
    }
}
