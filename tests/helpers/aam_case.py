"""A checkpoint of AAM and Wav2CLIP in the published layout, drawn, of any size; inputs for it."""

import zlib
from typing import NamedTuple

import numpy as np

Shapes = dict[str, tuple[int, ...]]


class Sizes(NamedTuple):
    """Sizes of the network; by default the published ones."""

    dim: int = 1024
    depth: int = 24
    heads: int = 16
    rank: int = 32
    levels: tuple[int, int, int, int] = (96, 192, 384, 768)
    channels: int = 256
    point: int = 128
    text: int = 768
    hidden: int = 256
    audio: int = 512


TINY = Sizes(32, 4, 2, 4, (8, 16, 16, 24), 64, 8, 12, 16, 32)
TINY_OPTIONS = {
    "clip_size": 3,
    "features": 32,
    "depth": 4,
    "heads": 2,
    "lora_rank": 4,
    "level_channels": (8, 16, 16, 24),
    "channels": 64,
    "point_size": 8,
    "text_size": 12,
    "fusion_options": {"hidden": 16},
    "audio_width": 32 / 512,
}
FRAMES, SIDE, SAMPLES = 3, 64, 3000


def linear(name: str, i: int, o: int, bias: bool = True, window: int = 0) -> Shapes:
    """The entries of a dense layer, or of a convolution with a square window."""
    shape = (o, i, window, window) if window else (o, i)
    return {f"{name}.weight": shape} | ({f"{name}.bias": (o,)} if bias else {})


def norm(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def backbone(sizes: Sizes) -> Shapes:
    d, r = sizes.dim, sizes.rank
    out: Shapes = {"cls_token": (1, 1, d), "storage_tokens": (1, 4, d), "mask_token": (1, d)}
    out |= {"rope_embed.periods": (d // sizes.heads // 4,)}
    out |= linear("patch_embed.proj", 3, d, window=16) | norm("norm", d)
    for block in range(sizes.depth):
        at = f"blocks.{block}"
        out |= norm(f"{at}.norm1", d) | norm(f"{at}.norm2", d)
        out |= {f"{at}.ls1.gamma": (d,), f"{at}.ls2.gamma": (d,)}
        out |= linear(f"{at}.mlp.fc1", d, 4 * d) | linear(f"{at}.mlp.fc2", 4 * d, d)
        for layer, size in (("qkv", 3 * d), ("proj", d)):
            out |= linear(f"{at}.attn.{layer}", d, size)
            if layer == "qkv":
                out[f"{at}.attn.qkv.{'base.' if r else ''}bias_mask"] = (size,)
            if r:
                out |= linear(f"{at}.attn.{layer}.base", d, size)
                out |= {f"{at}.attn.{layer}.lora_A.weight": (r, d), f"{at}.attn.{layer}.lora_B.weight": (size, r)}
    return out


def operator(at: str, c: int) -> Shapes:
    out: Shapes = {f"{at}.map.curv": (), f"{at}.map.alpha": ()}
    out |= linear(f"{at}.cond_gate.mlp.0", 1, 64) | linear(f"{at}.cond_gate.mlp.2", 64, c)
    for number in (0, 1):
        out |= linear(f"{at}.op{number}.0", 1, c, bias=False, window=3) | linear(f"{at}.op{number}.1", c, c, window=1)
    return out | linear(f"{at}.op2_proj.1", c, c, window=1) | linear(f"{at}.mix", c, c, window=1)


def scale_gate(at: str, sizes: Sizes) -> Shapes:
    out: Shapes = {f"{at}.map.curv": (), f"{at}.map.alpha": (), f"{at}.scale_anchors_tan": (3, sizes.point)}
    out |= norm(f"{at}.scale_mlp.0", sizes.text) | linear(f"{at}.scale_mlp.1", sizes.text, 128)
    return out | linear(f"{at}.scale_mlp.3", 128, 3)


def motion(at: str, c: int) -> Shapes:
    out: Shapes = {f"{at}.time_embedding": (1, 64, c), f"{at}.fp_alpha_logit": ()}
    out |= {f"{at}.temporal_attention_scale": (1,), f"{at}.temporal_ffn_scale": (1,)}
    out |= norm(f"{at}.temporal_norm", c) | norm(f"{at}.temporal_ffn_norm", c)
    out |= linear(f"{at}.temporal_attn.qkv", c, 3 * c) | linear(f"{at}.temporal_attn.proj", c, c)
    out |= linear(f"{at}.temporal_dense", c, c)
    out |= linear(f"{at}.temporal_ffn.fc1", c, 4 * c) | linear(f"{at}.temporal_ffn.fc2", 4 * c, c)
    out |= linear(f"{at}.spatial_mixer.0", 1, c, bias=False, window=3) | linear(f"{at}.spatial_mixer.1", c, c, window=1)
    out |= linear(f"{at}.sal_obs_head", c, 1, window=1)
    return out | linear(f"{at}.nu_head", c, 1) | linear(f"{at}.lam_head", c, 1)


def head(sizes: Sizes) -> Shapes:
    p, hidden, top = sizes.point, sizes.hidden, sizes.levels[3]
    out: Shapes = {"curv": (), "visual_alpha": (), "textual_alpha": (), "none_anchor_tan": (1, p)}
    out |= linear("visual_proj", top, p, bias=False) | linear("textual_proj", sizes.text, p, bias=False)
    for number, c in enumerate(sizes.levels):
        out |= linear(f"projects.{number}", sizes.dim, c, window=1)
    for number, c in enumerate((*sizes.levels, sizes.channels)):
        out |= motion(f"motion_modules.{number}", c)
    at = "av_fusion"
    out |= linear(f"{at}.visual_proj", top, hidden) | linear(f"{at}.audio_proj", sizes.audio, hidden)
    out |= {f"{at}.cross_attn.in_proj_weight": (3 * hidden, hidden), f"{at}.cross_attn.in_proj_bias": (3 * hidden,)}
    out |= linear(f"{at}.cross_attn.out_proj", hidden, hidden)
    out |= linear(f"{at}.film_generator.0", hidden, hidden) | linear(f"{at}.film_generator.2", hidden, 2 * hidden)
    out |= linear(f"{at}.relevance_selector.0", 2 * hidden, hidden) | linear(f"{at}.relevance_selector.2", hidden, 1)
    out |= linear(f"{at}.out_proj", hidden, top) | norm(f"{at}.norm", top)
    out |= linear("start_proj.0", top, sizes.channels, bias=False, window=1) | norm("start_proj.1", sizes.channels)
    for stage in (1, 2, 3):
        c, at = sizes.channels // 2**stage, f"decoder_stage{stage}"
        out |= {f"{at}.up_conv.weight": (2 * c, c, 2, 2), f"{at}.up_conv.bias": (c,)} | norm(f"{at}.norm", c)
        out |= linear(f"{at}.style_mlp.1", sizes.text, 2 * c)
        out |= scale_gate(f"{at}.scale_gate", sizes) | operator(f"{at}.ms_op", c)
        out |= linear(f"fuse{stage}.0", c + sizes.levels[3 - stage], c, bias=False, window=1) | norm(
            f"fuse{stage}.1", c
        )
        few = c // (32 // 2**stage)
        out |= linear(f"se{stage}.fc.0", c, few, bias=False) | linear(f"se{stage}.fc.2", few, c, bias=False)
    at, c = "decoder_out", sizes.channels // 8
    out |= linear(f"{at}.final_conv", c, 1, window=3)
    out |= linear(f"{at}.shape_predictor.0", sizes.text, 128) | linear(f"{at}.shape_predictor.2", 128, 24)
    out |= linear(f"{at}.img_to_hyp_tan", c, p, bias=False)
    out |= {f"{at}.global_map.curv": (), f"{at}.global_map.alpha": (), f"{at}.gauss_anchors_tan": (6, p)}
    out |= norm(f"{at}.amp_mlp.0", 2 * p + 3) | linear(f"{at}.amp_mlp.1", 2 * p + 3, 256)
    out |= linear(f"{at}.amp_mlp.3", 256, 6)
    return out | operator(f"{at}.ms_op", 1) | scale_gate(f"{at}.scale_gate", sizes)


def aam(sizes: Sizes = TINY) -> Shapes:
    """The entries of AAM's checkpoint."""
    parts = {"backbone": backbone(sizes), "head": head(sizes)}
    return {f"{part}.{key}": shape for part, entries in parts.items() for key, shape in entries.items()}


def wav2clip(sizes: Sizes = TINY) -> Shapes:
    """The entries of Wav2CLIP's checkpoint, some of which are of no use."""
    width, out = sizes.audio // 8, {}
    out |= linear("audio_encoder.conv1", 1, width, bias=False, window=7) | statistics("audio_encoder.bn1", width)
    before = width
    for stage in range(4):
        c = width * 2**stage
        for block in (0, 1):
            at = f"audio_encoder.layer{stage + 1}.{block}"
            out |= linear(f"{at}.conv1", before, c, bias=False, window=3) | statistics(f"{at}.bn1", c)
            out |= linear(f"{at}.conv2", c, c, bias=False, window=3) | statistics(f"{at}.bn2", c)
            if stage and not block:
                out |= linear(f"{at}.downsample.0", before, c, bias=False, window=1)
                out |= statistics(f"{at}.downsample.1", c)
            before = c
    out |= linear("audio_encoder.fc", sizes.audio, 10) | {"audio_encoder.spectrogram.window": (512,)}
    for layer in (0, 3):
        out |= linear(f"audio_transform.sequential.{layer}", sizes.audio, sizes.audio)
    return out


def statistics(name: str, size: int) -> Shapes:
    return norm(name, size) | {f"{name}.running_mean": (size,), f"{name}.running_var": (size,)}


def drawn(shapes: Shapes, seed: int = 0) -> dict[str, np.ndarray]:
    """Numbers for each entry, which depend on its key alone and keep activations alive; equal under two names."""
    return {key: _entry(key.replace(".base.", "."), shape, seed) for key, shape in shapes.items()}


def _entry(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    rng, role = np.random.default_rng([seed, zlib.crc32(key.encode())]), key.rsplit(".", 1)[-1]
    if role == "bias_mask":
        return np.repeat(np.float32([1, 0, 1]), shape[0] // 3)
    if role in ("running_var", "gamma") or (role == "weight" and len(shape) == 1):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if role in ("visual_alpha", "textual_alpha"):
        # Far from the origin the angles of cones are differences of large numbers.
        return (0.3 * rng.standard_normal(shape) - 1.5).astype(np.float32)
    spread = 3.0 if role == "curv" else 0.3
    if role in ("weight", "in_proj_weight"):
        spread = np.sqrt((1.0 if "backbone" in key else 2.0) / np.prod(shape[1:]))
    return (spread * rng.standard_normal(shape)).astype(np.float32)


def inputs(seed: int = 0) -> dict[str, np.ndarray]:
    """A clip of the tiny network: video [1, T, S, S, 3], audio [1, T, samples], text [1, size], density."""
    rng = np.random.default_rng([seed, 1])
    density = np.exp(-rng.uniform(0, 4, (1, FRAMES, SIDE, SIDE)))
    return {
        "video": rng.standard_normal((1, FRAMES, SIDE, SIDE, 3)).astype(np.float32),
        "audio": (0.1 * rng.standard_normal((1, FRAMES, SAMPLES))).astype(np.float32),
        "text": (0.4 * rng.standard_normal((1, TINY.text))).astype(np.float32),
        "density": density.astype(np.float32),
    }
