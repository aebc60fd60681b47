"""Layouts of the official code of ViNet, AViNet, SoundNet and S3D."""

import re
from collections.abc import Mapping
from typing import Any

from avsd_jax import models
from avsd_jax.nn.soundnet import MIN_SAMPLES
from avsd_jax.torch_weights.layout import Layout, Shapes, variables, zeros

# Samples of audio per step of SoundNet's output: the product of its strides and pools.
_SAMPLES_PER_STEP = 32768


def _vinet_options(shapes: Shapes, prefix: str = "") -> dict[str, Any]:
    """Infers clip length and number of skips from the decoder's temporal kernels."""

    def time(layer: str) -> int | None:
        shape = shapes.get(f"{prefix}decoder.convtsp{layer}.weight", ())
        return shape[2] if len(shape) == 5 else None

    if time("4.8") is not None:
        clip_size = 48 if time("4.6") == 3 else 32
    else:
        clip_size = {1: 8, 2: 16}.get(time("4.3"), 32) if time("4.6") == 1 else 32
    num_skips = sum(time(layer) != 1 for layer in ("2.0", "3.0", "4.0"))
    found = {"clip_size": clip_size, "num_skips": num_skips}
    return {key: value for key, value in found.items() if value != {"clip_size": 32, "num_skips": 3}[key]}


def _vinet(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    video = zeros(1, options.get("clip_size", 32), 32, 32, 3)
    return variables(models.create("vinet", **options), {"video": video})


def _avinet_options(shapes: Shapes) -> dict[str, Any]:
    """Infers ViNet's options, and the fusion from the extra layers around the transformer."""
    fusion = {}
    if "audio_conv_1x1.weight" in shapes:
        fusion = {"fusion": "transformer"}
    elif "conv_out_1x1.weight" in shapes:
        fusion = {"fusion": "bilinear_transformer"}
    return _vinet_options(shapes, "visual_model.") | fusion


def _avinet(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """Returns AViNet's variables; the fusion fits one frame size and audio length, inferred from its weights."""
    clip_size = options.get("clip_size", 32)
    positions, pooled, steps = 336, 42, 3
    if len(shapes.get("bilinear.weight", ())) == 3:
        positions, pooled, steps = shapes["bilinear.weight"]
    elif "transformer.pos_encoder.pe" in shapes:
        positions = shapes["transformer.pos_encoder.pe"][0] - steps
    # Rows and columns with these numbers of positions, before and after every second column is dropped.
    area = max(1, positions // (clip_size // 8))
    rows = max(1, 2 * pooled - area)
    batch = {
        "video": zeros(1, clip_size, 32 * rows, 32 * max(1, area // rows), 3),
        "audio": zeros(1, MIN_SAMPLES + _SAMPLES_PER_STEP * (steps - 1)),
    }
    return variables(models.create("avinet", **options), batch)


def _soundnet8(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return variables(models.create("soundnet8"), {"audio": zeros(1, MIN_SAMPLES)})


def _s3d_kinetics400(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return variables(models.create("s3d_kinetics400"), {"video": zeros(1, 8, 32, 32, 3)})


def _kinetics_key(match: re.Match[str]) -> str:
    """Returns the key in the published file, where base1.0 ... base4.1 are one sequence with the pools."""
    return f"base.{int(match[2]) + {'1': 0, '2': 5, '3': 8, '4': 14}[match[1]]}."


_SOUNDNET_HEADS = r"(^|\.)conv8_(objs|scns)\."

LAYOUTS = {
    "vinet": Layout(_vinet, _vinet_options),
    "avinet": Layout(
        _avinet,
        _avinet_options,
        rename=((r"^fusion\.", ""), (r"in_proj\.", "in_proj_")),
        unused=rf"{_SOUNDNET_HEADS}|^bilinear\.",
    ),
    "soundnet8": Layout(_soundnet8, unused=_SOUNDNET_HEADS),
    "s3d_kinetics400": Layout(_s3d_kinetics400, rename=((r"^base(\d)\.(\d+)\.", _kinetics_key),), unused=r"^fc\.0\."),
}
