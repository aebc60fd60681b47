"""Layouts of AAM's checkpoint, to which Wav2CLIP's and sentences' embeddings may be added, and of DINOv3's own."""

from collections.abc import Mapping
from typing import Any

from avsd_jax import models
from avsd_jax.nn.wav2clip import SAMPLE_RATE
from avsd_jax.torch_weights.layout import Layout, Renames, Shapes, variables, zeros

# A module of the checkpoint whose number of channels tells one of our options: (key, axis) by option.
_SIZES = {
    "features": ("backbone.cls_token", 2),
    "lora_rank": ("backbone.blocks.0.attn.qkv.lora_A.weight", 0),
    "channels": ("head.start_proj.0.weight", 0),
    "point_size": ("head.none_anchor_tan", 1),
    "text_size": ("head.textual_proj.weight", 1),
}
_DEFAULTS = {"features": 1024, "lora_rank": 32, "channels": 256, "point_size": 128, "text_size": 768}
_LEVELS = (96, 192, 384, 768)
_SENTENCE = "text_embeddings."
_HEARD = "audio_encoder.conv1.weight"


def _depth(shapes: Shapes, prefix: str) -> int:
    """Returns the number of blocks; that of ViT-L if there are none."""
    numbers = {key.split(".")[1 + prefix.count(".")] for key in shapes if key.startswith(f"{prefix}blocks.")}
    return len(numbers) or 24


def _heads(shapes: Shapes, prefix: str, features: int) -> int:
    """Returns the number of heads, which the periods of the rotations tell: a quarter of a head each."""
    periods = shapes.get(f"{prefix}rope_embed.periods")
    return features // (4 * periods[0]) if periods else 16


def _aam_options(shapes: Shapes) -> dict[str, Any]:
    """Infers what differs from the published network; its weights were trained on sound of the official scale."""
    found: dict[str, Any] = {"audio_scale": "official"}
    sizes = {name: shapes[key][axis] if key in shapes else _DEFAULTS[name] for name, (key, axis) in _SIZES.items()}
    sizes |= {"depth": _depth(shapes, "backbone."), "heads": _heads(shapes, "backbone.", sizes["features"])}
    published = _DEFAULTS | {"depth": 24, "heads": 16}
    found |= {name: size for name, size in sizes.items() if size != published[name]}
    levels = tuple(shapes.get(f"head.projects.{i}.weight", (size,))[0] for i, size in enumerate(_LEVELS))
    if levels != _LEVELS:
        found["level_channels"] = levels
    hidden = shapes.get("head.av_fusion.audio_proj.bias", (256,))[0]
    if hidden != 256:
        found["fusion_options"] = {"hidden": hidden}
    heard = shapes.get("head.av_fusion.audio_proj.weight", (256, 512))[1]
    if heard != 512:
        found["audio_width"] = heard / 512
    if not shapes:
        return found
    prompts = tuple(sorted(key.removeprefix(_SENTENCE) for key in shapes if key.startswith(_SENTENCE)))
    found["prompts"] = prompts
    if prompts:
        found["prompt"] = "None" if "None" in prompts else prompts[0]
    return found if _HEARD in shapes else found | {"gate": "never"}


def _aam(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """Returns all variables but those of a Wav2CLIP that the checkpoint does not have."""
    model = models.create("aam", **{"clip_size": 1, **options})
    batch = {"video": zeros(1, 1, 32, 32, 3), "audio": zeros(1, 1, SAMPLE_RATE), "text": zeros(1, model.text_size)}
    if model.prompts:
        del batch["text"]
    found = variables(model, batch)
    if shapes and _HEARD not in shapes:
        params = {name: part for name, part in found["params"].items() if name != "audionet"}
        stats = {name: part for name, part in found.get("batch_stats", {}).items() if name != "audionet"}
        return {"params": params, "batch_stats": stats}
    return found


def _dinov3_options(shapes: Shapes) -> dict[str, Any]:
    features, depth = shapes.get("cls_token", (1, 1, 1024))[2], _depth(shapes, "")
    found = {"features": features, "depth": depth, "heads": _heads(shapes, "", features)}
    published = {"features": 1024, "depth": 24, "heads": 16}
    return {name: size for name, size in found.items() if size != published[name]}


def _dinov3(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return variables(models.create("dinov3", **options), {"video": zeros(1, 1, 32, 32, 3)})


_TRUNK: Renames = (
    (r"patch_embed_proj\.", "patch_embed.proj."),
    (r"\.ls(\d)_gamma$", r".ls\1.gamma"),
    (r"\.lora_([ab])$", lambda match: f".lora_{match[1].upper()}.weight"),
)
_TRUNK_IDLE = r"mask_token$|rope_embed\.periods$|bias_mask$|local_cls_norm\."

LAYOUTS = {
    "aam": Layout(
        _aam,
        _aam_options,
        rename=(
            *_TRUNK,
            (r"^audionet\.trunk\.", "audio_encoder."),
            (r"^audionet\.", "audio_transform."),
            (r"^text\.", _SENTENCE),
            (r"^fusion\.", "av_fusion."),
            (r"in_proj\.(weight|bias)$", r"in_proj_\1"),
            (r"^decoder\.", ""),
            (r"^join(\d)\.(fuse|se)\.", r"\2\1."),
            (r"^(?!backbone\.|audio_|text_embeddings\.)", "head."),
        ),
        # Blocks over time that the released code builds and does not run; of Wav2CLIP what makes no embedding.
        unused=rf"{_TRUNK_IDLE}|^head\.motion_modules\.[014]\.|gauss_anchors_tan$|^audio_encoder\.(fc|spectrogram)\.",
        transposed=r"\.up_conv\.",
        added=r"(audio_encoder|audio_transform|text_embeddings)\..+",
        twins=(r"\.base\.(weight|bias)$", r".\1"),
    ),
    "dinov3": Layout(_dinov3, _dinov3_options, rename=_TRUNK, unused=_TRUNK_IDLE),
}
