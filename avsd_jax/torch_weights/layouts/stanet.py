"""Layouts of STANet's official releases, with their classifiers, switches and encoders."""

from collections.abc import Callable, Mapping
from typing import Any

from avsd_jax import models
from avsd_jax.models import classifiers
from avsd_jax.torch_weights.layout import Layout, Renames, Shapes, variables, zeros


def _scam_options(name: str) -> Callable[[Shapes], dict[str, Any]]:
    """Infers the number of tags from the layer of the class maps, and coarse or fine from the layers before."""
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
    def of_model(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
        frames = 3 if name.endswith("_st") else 1
        batch = {"video": zeros(1, frames, 64, 64, 3), "spectrogram": zeros(1, 257, 48)}
        return variables(models.create(name, **options), batch)

    return of_model


def _stanet(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    batch = {"video": zeros(1, 3, 64, 64, 3), "spectrogram": zeros(1, 257, 48)}
    return variables(models.create("stanet", **options), batch)


def _vggsound_options(shapes: Shapes) -> dict[str, Any]:
    """Infers the pool from the name of the layer after it, and the number of classes."""
    pool, last = ({"pool": "avgpool"}, "fc") if "audnet.fc.bias" in shapes else ({}, "fc_")
    num_classes = shapes.get(f"audnet.{last}.bias", (309,))[0]
    return pool if num_classes == 309 else pool | {"num_classes": num_classes}


def _vggsound(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return variables(models.create("vggsound", **options), {"spectrogram": zeros(1, 257, 48)})


def _resnext101(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return variables(models.create("resnext101"), {"video": zeros(1, 1, 64, 64, 3)})


def _soundswitch(name: str) -> Callable[[Mapping[str, Any], Shapes], dict[str, Any]]:
    def build(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
        return variables(classifiers.create(name), zeros(1, 1, 64, 64, 3), zeros(1, 257, 48))

    return build


def _numbered(part: str) -> Renames:
    """Renames a ResNet within a sequence: the stem's layers are 0 and 1, its stages 4 to 7."""
    stage = (rf"^{part}\.layer(\d)\.", lambda match: f"{part}.{int(match[1]) + 3}.")
    return ((rf"^{part}\.conv1\.", f"{part}.0."), (rf"^{part}\.bn1\.", f"{part}.1."), stage)


def _split(part: str) -> Renames:
    """Renames a ResNet in separate parts: stem and stages are 0 to 4."""
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

LAYOUTS = {
    **{
        name: Layout(_scam(name), _scam_options(name), rename=_SCAM_NAMES, transposed=r"^Aup\.")
        for name in ("scam_s", "scam_sa", "scam_st")
    },
    **{
        name: Layout(_scam(name), _scam_options(name), rename=_SCAM_CVPR_NAMES, transposed=r"^Aup\d\.")
        for name in ("scam_cvpr_s", "scam_cvpr_sa", "scam_cvpr_st")
    },
    "vggsound": Layout(
        _vggsound,
        _vggsound_options,
        rename=((r"^trunk\.", ""), (r"^vlad\.", "avgpool."), (r"^", "audnet.")),
    ),
    "resnext101": Layout(_resnext101, unused=r"^fc\."),
    "soundswitch_audio": Layout(_soundswitch("soundswitch_audio"), rename=_numbered("layerA"), unused=r"^Afc\."),
    "soundswitch_av": Layout(
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


# STANet's releases, identified by a key that only one of them has.
_RELEASES = {
    "downv4.weight": Layout(_stanet, rename=_STANET_CVPR_NAMES, unused=r"^(Vatten_conv|Afc)\.", transposed=r"^Aup\d\."),
    "extra_video_d0.weight": Layout(
        _stanet,
        lambda shapes: {"release": "2021"},
        rename=_STANET_NAMES,
        unused=r"^extra_(bilinear|ConvGRU)\.",
        transposed=r"^Aup\.",
    ),
    "extra_convsd0.weight": Layout(
        _stanet,
        lambda shapes: {"release": "2022"},
        rename=_STANET_NAMES,
        unused=r"^extra_(audio_d|gate|refineSA|conv_stafusion)\.",
    ),
}

BY_KEY = {"stanet": _RELEASES}
