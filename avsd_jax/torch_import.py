"""Weights published for PyTorch, as Flax variables.

A checkpoint is a flat {key: array} in the layout of the official code. What it must hold is read from our
own model: each variable has one key, by `_key` and the model's renaming rules, and one shape, by
`_stored_shape`. A new model adds a function that builds it from the shapes found, and an entry in `_LAYOUTS`.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from avsd_jax import models
from avsd_jax.errors import InputError
from avsd_jax.models import classifiers
from avsd_jax.nn.soundnet import MIN_SAMPLES, min_samples

Shapes = Mapping[str, tuple[int, ...]]
Path = tuple[str, ...]
Renames = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]

# Samples of audio per step of SoundNet's output: the product of its strides and pools.
_SAMPLES_PER_STEP = 32768


def to_variables(name: str, state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Converts a checkpoint in the official layout.

    Args:
        name: what the checkpoint is of: a model of `avsd_jax.models` or a classifier of
            `avsd_jax.models.classifiers` that has published weights. Variants (ViNet's clip lengths and
            numbers of skips, AViNet's fusions) are recognised; `options` tells them.
        state_dict: {key: array}; keys may start with "module.", "num_batches_tracked" entries may be absent.

    Returns:
        {"params": ..., "batch_stats": ...}, float32, for `models.create(name, **options(name, state_dict))`.
        l3net's two classes are swapped: ours is 1 = consistent, the published 0 = corresponds.

    Raises:
        InputError: unknown name, missing or unknown key, or wrong shape; the message names it.
    """
    arrays = {key.removeprefix("module."): array for key, array in state_dict.items()}
    shapes = {key: tuple(np.shape(array)) for key, array in arrays.items()}
    layout = _layout(name, shapes)
    expected = traverse_util.flatten_dict(layout.variables(layout.options(shapes), shapes))
    keys = {path: _key(path, layout) for path in expected}

    for path, leaf in expected.items():
        key = keys[path]
        wanted = _stored_shape(path, leaf.shape, _is_transposed(key, layout))
        if key not in shapes:
            raise InputError(f"the checkpoint has no {key!r}, which {name} needs: give a checkpoint of {name}")
        # A 1-D kernel is stored as a picture of one column or of one row.
        row = (*wanted[:2], 1, wanted[2]) if len(leaf.shape) == 3 and len(wanted) == 4 else wanted
        if shapes[key] not in (wanted, row):
            raise InputError(f"{key!r} has shape {shapes[key]} where {name} needs {wanted}: give another checkpoint")
    for key in sorted(shapes.keys() - set(keys.values())):
        if not re.search(layout.unused, key) and not key.endswith("num_batches_tracked"):
            raise InputError(f"the checkpoint has {key!r}, which {name} does not know: give a checkpoint of {name}")

    def convert(path: Path) -> jax.Array:
        array = np.asarray(arrays[keys[path]], np.float32)
        if keys[path] in layout.swapped:
            array = array[::-1]
        transposed = _is_transposed(keys[path], layout)
        return jnp.asarray(_reorder(path, expected[path].shape, array, transposed))

    tree = traverse_util.unflatten_dict({path: convert(path) for path in expected})
    return {"params": tree["params"], "batch_stats": tree.get("batch_stats", {})}


def options(name: str, state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Options of the model that a checkpoint is of, as `models.create` takes them; {} for the default.

    Raises:
        InputError: unknown name.
    """
    shapes = {key.removeprefix("module."): np.shape(array) for key, array in state_dict.items()}
    return _layout(name, shapes).options(shapes)


# ---------------------------------------------------------------- one variable


def _key(path: Path, layout: "_Layout") -> str:
    """The checkpoint's key of a variable: params/base1_0/conv_s/kernel is base1.0.conv_s.weight."""
    *modules, leaf = path[1:]
    leaf = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}.get(leaf, leaf)
    key = ".".join([*(re.sub(r"_(\d+)$", r".\1", module) for module in modules), leaf])
    for pattern, replacement in layout.rename:
        key = re.sub(pattern, replacement, key)
    return key


def _is_transposed(key: str, layout: "_Layout") -> bool:
    """Whether a key is that of a transposed convolution's kernel."""
    return key.endswith(".weight") and bool(re.search(layout.transposed, key))


def _stored_shape(path: Path, shape: tuple[int, ...], transposed: bool) -> tuple[int, ...]:
    """PyTorch's shape of a variable: kernels are (out, in, ...), 1-D ones 2-D with a width of 1."""
    if path[-1] != "kernel" or path[-2] == "bilinear":
        return shape
    *window, i, o = shape
    if transposed:
        return (i, o, *window)
    return (o, i, *window, 1) if len(shape) == 3 else (o, i, *window)


def _reorder(path: Path, shape: tuple[int, ...], array: np.ndarray, transposed: bool) -> np.ndarray:
    """From PyTorch's order of axes, (out, in, ...), to ours, (..., in, out)."""
    if path[-1] != "kernel" or path[-2] == "bilinear":
        return array
    if transposed:
        # Stored as (in, out, ...), and flipped against the kernel of the convolution that it is.
        return np.flip(np.moveaxis(array, (0, 1), (-2, -1)), tuple(range(array.ndim - 2)))
    return np.moveaxis(array, (0, 1), (-1, -2)).reshape(shape)


# ---------------------------------------------------------------- the models


def _vinet_options(shapes: Shapes, prefix: str = "") -> dict[str, Any]:
    """Clip length and number of skips, told by the decoder's temporal kernels."""

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
    video = _zeros(1, options.get("clip_size", 32), 32, 32, 3)
    return _variables(models.create("vinet", **options), {"video": video})


def _avinet_options(shapes: Shapes) -> dict[str, Any]:
    """ViNet's options and the fusion, told by the extra layers around the transformer."""
    fusion = {}
    if "audio_conv_1x1.weight" in shapes:
        fusion = {"fusion": "transformer"}
    elif "conv_out_1x1.weight" in shapes:
        fusion = {"fusion": "bilinear_transformer"}
    return _vinet_options(shapes, "visual_model.") | fusion


def _avinet(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """The fusion fits one frame size and audio length, told by the sizes of its weights."""
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
        "video": _zeros(1, clip_size, 32 * rows, 32 * max(1, area // rows), 3),
        "audio": _zeros(1, MIN_SAMPLES + _SAMPLES_PER_STEP * (steps - 1)),
    }
    return _variables(models.create("avinet", **options), batch)


def _soundnet8(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return _variables(models.create("soundnet8"), {"audio": _zeros(1, MIN_SAMPLES)})


def _s3d_kinetics400(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return _variables(models.create("s3d_kinetics400"), {"video": _zeros(1, 8, 32, 32, 3)})


def _l3net(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return _variables(classifiers.create("l3net"), _zeros(1, 1, 64, 64, 3), _zeros(1, 64, 64))


def _scam_options(name: str) -> Callable[[Shapes], dict[str, Any]]:
    """Number of tags, told by the class maps' layer; coarse or fine, told by the layers before."""
    head = {"scam_s": "extra_convs.bias", "scam_sa": "extra_video_d.6.bias", "scam_st": "extra_convs.6.bias"}
    head |= {"scam_cvpr_s": "fc.bias", "scam_cvpr_sa": "fc.bias", "scam_cvpr_st": "fcl.bias"}

    def options(shapes: Shapes) -> dict[str, Any]:
        default = 27 if name == "scam_cvpr_sa" else 28
        num_tags = shapes.get(head[name], (default,))[0]
        found = {} if num_tags == default else {"num_tags": num_tags}
        if name == "scam_cvpr_s" and "layerV_down.conv_res.bias" not in shapes:
            found["reduce"] = False
        if name == "scam_sa" and shapes.get("Aup.0.weight", ())[2:] == (4, 4):
            found["audio_grid"] = 12
        return found

    return options


def _scam(name: str) -> Callable[[Mapping[str, Any], Shapes], dict[str, Any]]:
    def variables(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
        frames = 3 if name.endswith("_st") else 1
        batch = {"video": _zeros(1, frames, 64, 64, 3), "spectrogram": _zeros(1, 257, 48)}
        return _variables(models.create(name, **options), batch)

    return variables


def _stanet(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    batch = {"video": _zeros(1, 3, 64, 64, 3), "spectrogram": _zeros(1, 257, 48)}
    return _variables(models.create("stanet", **options), batch)


def _vggsound_options(shapes: Shapes) -> dict[str, Any]:
    """The pool, told by the name of the layer after it, and the number of classes."""
    pool, last = ({"pool": "avgpool"}, "fc") if "audnet.fc.bias" in shapes else ({}, "fc_")
    num_classes = shapes.get(f"audnet.{last}.bias", (309,))[0]
    return pool if num_classes == 309 else pool | {"num_classes": num_classes}


def _vggsound(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return _variables(models.create("vggsound", **options), {"spectrogram": _zeros(1, 257, 48)})


def _resnext101(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return _variables(models.create("resnext101"), {"video": _zeros(1, 1, 64, 64, 3)})


def _soundswitch(name: str) -> Callable[[Mapping[str, Any], Shapes], dict[str, Any]]:
    def variables(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
        return _variables(classifiers.create(name), _zeros(1, 1, 64, 64, 3), _zeros(1, 257, 48))

    return variables


def _stavis(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    batch = {"video": _zeros(1, 16, 32, 32, 3), "audio": _zeros(1, min_samples(2))}
    return _variables(models.create("stavis"), batch)


def _stavis_visual(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return _variables(models.create("stavis_visual"), {"video": _zeros(1, 16, 32, 32, 3)})


def _resnet50_kinetics(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return _variables(models.create("resnet50_kinetics"), {"video": _zeros(1, 16, 32, 32, 3)})


def _zeros(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _variables(model: Any, *inputs: Any) -> dict[str, Any]:
    return jax.eval_shape(model.init, jax.random.key(0), *inputs)


def _kinetics_key(match: re.Match[str]) -> str:
    """base1.0 ... base4.1 are one sequence in the published file, pools counted."""
    return f"base.{int(match[2]) + {'1': 0, '2': 5, '3': 8, '4': 14}[match[1]]}."


@dataclasses.dataclass(frozen=True)
class _Layout:
    """How a published checkpoint differs from our variables.

    Attributes:
        variables: (options, shapes of the checkpoint) -> shapes of our variables.
        options: shapes of the checkpoint -> options of the model.
        rename: regular expressions and their replacements, applied in turn to our keys.
        unused: regular expression of keys that the official code never reads.
        transposed: regular expression of keys of transposed convolutions.
        swapped: keys of arrays over classes whose two classes have the opposite order.
    """

    variables: Callable[[Mapping[str, Any], Shapes], dict[str, Any]]
    options: Callable[[Shapes], dict[str, Any]] = lambda shapes: {}
    rename: Renames = ()
    unused: str = r"$^"
    transposed: str = r"$^"
    swapped: tuple[str, ...] = ()


def _numbered(part: str) -> Renames:
    """A ResNet within a sequence: the stem's layers are 0 and 1, its stages 4 to 7."""
    stage = (rf"^{part}\.layer(\d)\.", lambda match: f"{part}.{int(match[1]) + 3}.")
    return ((rf"^{part}\.conv1\.", f"{part}.0."), (rf"^{part}\.bn1\.", f"{part}.1."), stage)


def _split(part: str) -> Renames:
    """A ResNet in parts of its own: stem and stages are 0 to 4."""
    stem = ((rf"^{part}\.conv1\.", f"{part}_0.0."), (rf"^{part}\.bn1\.", f"{part}_0.1."))
    return (*stem, (rf"^{part}\.layer(\d)\.", rf"{part}_\1."))


# VGGSound's encoder within STANet's later releases.
_VGGSOUND_NAMES = (
    (r"^audio_model\.trunk\.", "audio_model."),
    (r"^audio_model\.vlad\.", "audio_model.8."),
    *_numbered("audio_model"),
)
# STANet's classifiers of December 2021 and August 2022, and those of the CVPR release.
_SCAM_NAMES = (
    (r"^fused\.", ""),
    (r"^self_gate\.", "extra_"),
    (r"^(extra_video_d|extra_convs)\.layer\.", r"\1."),
    *_numbered("features"),
    *_VGGSOUND_NAMES,
)
_SCAM_CVPR_NAMES = (
    (r"^layerA\.trunk\.", "layerA."),
    (r"^layerA\.vlad\.", "layerA_p."),
    (r"^(layerV_down|rfb)\.branch(\d)\.(\d)", r"\1.branch\2.\3"),
    *(rule for part in ("layerA", "layerV", "layer1") for rule in _split(part)),
)

# The releases of STANet.
_STANET_CVPR_NAMES = (
    (r"^head\.", ""),
    (r"^visual\.", "layerV."),
    (r"^audio_model\.trunk\.", "layerA."),
    (r"^audio_model\.vlad\.", "layerA_p."),
    *_split("layerA"),
    *_split("layerV"),
)
_STANET_NAMES = (
    (r"^head\.(self_gate\.)?(?!Aup)", "extra_"),
    (r"^head\.", ""),
    (r"^visual\.conv1\.", "features0.0."),
    (r"^visual\.bn1\.", "features0.1."),
    (r"^visual\.layer1\.", "features0.4."),
    (r"^visual\.layer2\.", "features0.5."),
    (r"^visual\.layer3\.", "features1."),
    (r"^visual\.layer4\.", "features2."),
    *_VGGSOUND_NAMES,
)

_SOUNDNET_HEADS = r"(^|\.)conv8_(objs|scns)\."

# STAViS's SoundNet is one sequence: layers, activations and pools are counted.
_SOUNDNET_SEQUENCE = dict(enumerate((0, 4, 8, 11, 14, 18, 21), start=1))


def _sequence_key(match: re.Match[str]) -> str:
    return f"soundnet8.{_SOUNDNET_SEQUENCE[int(match[2])] + (match[1] == 'batchnorm')}."


_SOUNDNET_IN_STAVIS = r"^soundnet8\.(conv|batchnorm)(\d)\."

_LAYOUTS = {
    "vinet": _Layout(_vinet, _vinet_options),
    "avinet": _Layout(
        _avinet,
        _avinet_options,
        rename=((r"^fusion\.", ""), (r"in_proj\.", "in_proj_")),
        unused=rf"{_SOUNDNET_HEADS}|^bilinear\.",
    ),
    "soundnet8": _Layout(_soundnet8, unused=_SOUNDNET_HEADS),
    "stavis": _Layout(
        _stavis,
        rename=(
            (r"^visual_model\.head\.", "fuse."),
            (r"^visual_model\.(trunk\.)?", ""),
            (r"^head\.", "fuseav."),
            (r"^fusion\.", "fusion3."),
            (_SOUNDNET_IN_STAVIS, _sequence_key),
        ),
        transposed=r"\.upscale_?\.",
    ),
    "stavis_visual": _Layout(
        _stavis_visual,
        rename=((r"^head\.", "fuse."), (r"^trunk\.", "")),
        unused=r"^(soundnet8|fusion3|fuseav)\.",
        transposed=r"\.upscale_?\.",
    ),
    "resnet50_kinetics": _Layout(_resnet50_kinetics, unused=r"^(layer4|fc)\."),
    "s3d_kinetics400": _Layout(_s3d_kinetics400, rename=((r"^base(\d)\.(\d+)\.", _kinetics_key),), unused=r"^fc\.0\."),
    "l3net": _Layout(_l3net, rename=((r"(conv|bn)(\d)\.(\d)\.", r"\1\2_\3."),), swapped=("fc2.weight", "fc2.bias")),
    **{
        name: _Layout(_scam(name), _scam_options(name), rename=_SCAM_NAMES, transposed=r"^Aup\.")
        for name in ("scam_s", "scam_sa", "scam_st")
    },
    **{
        name: _Layout(_scam(name), _scam_options(name), rename=_SCAM_CVPR_NAMES, transposed=r"^Aup\d\.")
        for name in ("scam_cvpr_s", "scam_cvpr_sa", "scam_cvpr_st")
    },
    "vggsound": _Layout(
        _vggsound,
        _vggsound_options,
        rename=((r"^trunk\.", ""), (r"^vlad\.", "avgpool."), (r"^", "audnet.")),
    ),
    "resnext101": _Layout(_resnext101, unused=r"^fc\."),
    "soundswitch_audio": _Layout(_soundswitch("soundswitch_audio"), rename=_numbered("layerA"), unused=r"^Afc\."),
    "soundswitch_av": _Layout(
        _soundswitch("soundswitch_av"),
        rename=(
            (r"^bilinear\.", "extra_bilinear."),
            (r"^layerA\.trunk\.", "layerA."),
            (r"^layerA\.vlad\.", "layerA.8."),
            *_numbered("layerA"),
            *_numbered("layerV"),
        ),
    ),
}

# STANet's releases, told by a key that each of them alone has.
_STANET = {
    "downv4.weight": _Layout(
        _stanet, rename=_STANET_CVPR_NAMES, unused=r"^(Vatten_conv|Afc)\.", transposed=r"^Aup\d\."
    ),
    "extra_video_d0.weight": _Layout(
        _stanet,
        lambda shapes: {"release": "2021"},
        rename=_STANET_NAMES,
        unused=r"^extra_(bilinear|ConvGRU)\.",
        transposed=r"^Aup\.",
    ),
    "extra_convsd0.weight": _Layout(
        _stanet,
        lambda shapes: {"release": "2022"},
        rename=_STANET_NAMES,
        unused=r"^extra_(audio_d|gate|refineSA|conv_stafusion)\.",
    ),
}


def _layout(name: str, shapes: Shapes) -> _Layout:
    if name == "stanet":
        for key, layout in _STANET.items():
            if key in shapes:
                return layout
        raise InputError(f"the checkpoint has none of {', '.join(_STANET)}: give a checkpoint of stanet")
    if name not in _LAYOUTS:
        known = ", ".join(sorted([*_LAYOUTS, "stanet"]))
        raise InputError(f"no published layout is known of {name!r}: choose one of {known}")
    return _LAYOUTS[name]
