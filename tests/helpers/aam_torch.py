"""AAM written down again in PyTorch, from what is known of it: what our network is compared with.

    python tests/helpers/aam_torch.py

needs PyTorch (the extra `bench`) and writes tests/models/aam_golden.npz, which tests compare without it. Nothing here
is shared with the package: functions of a drawn state dict, channels first.
"""

import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import aam_case as case

GOLDEN = pathlib.Path(__file__).parents[1] / "models/aam_golden.npz"
# Gradients of the whole loss by these entries are recorded.
LEARNED = (
    "backbone.blocks.0.attn.qkv.lora_A.weight",
    "backbone.blocks.3.attn.proj.lora_B.weight",
    "head.projects.0.weight",
    "head.motion_modules.2.temporal_attn.qkv.weight",
    "head.motion_modules.3.nu_head.weight",
    "head.motion_modules.3.lam_head.weight",
    "head.av_fusion.film_generator.2.weight",
    "head.av_fusion.relevance_selector.0.weight",
    "head.visual_proj.weight",
    "head.none_anchor_tan",
    "head.curv",
    "head.decoder_stage1.up_conv.weight",
    "head.decoder_stage2.scale_gate.scale_anchors_tan",
    "head.decoder_stage3.ms_op.op1.0.weight",
    "head.decoder_stage3.ms_op.map.alpha",
    "head.decoder_out.shape_predictor.2.weight",
    "head.decoder_out.amp_mlp.1.weight",
)


class Weights:
    """Entries of a state dict under a prefix."""

    def __init__(self, state: dict[str, Tensor], prefix: str = ""):
        self.state, self.prefix = state, prefix

    def __call__(self, name: str) -> "Weights":
        return Weights(self.state, f"{self.prefix}{name}.")

    def __getitem__(self, name: str) -> Tensor:
        return self.state[self.prefix + name]

    def get(self, name: str) -> Tensor | None:
        return self.state.get(self.prefix + name)

    def dense(self, x: Tensor) -> Tensor:
        return F.linear(x, self["weight"], self.get("bias"))

    def conv(self, x: Tensor, **options) -> Tensor:
        return F.conv2d(x, self["weight"], self.get("bias"), **options)

    def layer_norm(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self["weight"], self["bias"], 1e-5)

    def group_norm(self, x: Tensor, groups: int = 8) -> Tensor:
        return F.group_norm(x, groups, self["weight"], self["bias"], 1e-5)


# ---------------------------------------------------------------- DINOv3


def lora(w: Weights, x: Tensor, bias: Tensor) -> Tensor:
    change = F.linear(F.linear(x, w["lora_A.weight"]), w["lora_B.weight"])
    return F.linear(x, w["weight"], bias) + change * (64 / case.TINY.rank)


def turned(x: Tensor, side: int) -> Tensor:
    """Rotates queries or keys [n, heads, tokens, d]; class and registers stay."""
    d = x.shape[-1]
    place = 2 * (torch.arange(side) + 0.5) / side - 1
    yx = torch.stack(torch.meshgrid(place, place, indexing="ij"), -1).reshape(-1, 2)
    period = 100.0 ** (2 * torch.arange(d // 4) / (d // 2))
    angle = (2 * np.pi * yx[:, :, None] / period).flatten(1).repeat(1, 2)
    patches = x[:, :, 5:]
    half = torch.cat([-patches[..., d // 2 :], patches[..., : d // 2]], -1)
    return torch.cat([x[:, :, :5], patches * angle.cos() + half * angle.sin()], 2)


def trunk(w: Weights, images: Tensor) -> list[Tensor]:
    n, side, heads = len(images), images.shape[-1] // 16, case.TINY.heads
    x = w("patch_embed.proj").conv(images, stride=16).flatten(2).mT
    x = torch.cat([w["cls_token"].expand(n, -1, -1), w["storage_tokens"].expand(n, -1, -1), x], 1)
    levels = []
    for number in range(case.TINY.depth):
        block = w(f"blocks.{number}")
        attn, normed = block("attn"), block("norm1").layer_norm(x)
        qkv = lora(attn("qkv"), normed, attn("qkv")["bias"] * attn("qkv")["base.bias_mask"])
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv.chunk(3, -1))
        q, k = turned(q, side), turned(k, side)
        mixed = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v
        x = x + block["ls1.gamma"] * lora(attn("proj"), mixed.transpose(1, 2).flatten(2), attn("proj")["bias"])
        hidden = F.gelu(block("mlp.fc1").dense(block("norm2").layer_norm(x)))
        x = x + block["ls2.gamma"] * block("mlp.fc2").dense(hidden)
        levels.append(w("norm").layer_norm(x)[:, 5:].mT.unflatten(-1, (side, side)))
    return levels


# ---------------------------------------------------------------- time and sound


def over_time(w: Weights, x: Tensor) -> Tensor:
    """x [t, c, h, w] of one clip."""
    t, c, h, width = x.shape
    te = F.interpolate(w["time_embedding"].mT, size=t, mode="linear", align_corners=False)[0].T
    x = x + te[:, :, None, None]
    tokens = x.flatten(2).permute(2, 0, 1)  # places, t, c
    normed = w("temporal_norm").layer_norm(tokens)
    q, k, v = (
        part.unflatten(-1, (8, -1)).transpose(1, 2) for part in w("temporal_attn.qkv").dense(normed).chunk(3, -1)
    )
    weights = torch.softmax(q @ k.mT / (c // 8) ** 0.5 / 2.0, -1)
    attended = w("temporal_attn.proj").dense((weights @ v).transpose(1, 2).flatten(2))
    seen = torch.softmax(w("sal_obs_head").conv(x).flatten(1), -1).T[..., None]  # places, t, 1
    u = weights.mean(1).detach() @ seen
    if t > 2:
        bend = F.pad(u[:, :-2] - 2 * u[:, 1:-1] + u[:, 2:], (0, 0, 1, 1))
        u = u + F.softplus(w("nu_head").dense(normed)) * bend
    u = u + torch.sigmoid(w("lam_head").dense(normed)) * (seen - u)
    for _ in range(2):
        u = u.clamp_min(0)
        u = u / (u.sum(0, keepdim=True) + 1e-6)
    tokens = tokens * (1 + 0.5 * torch.sigmoid(w["fp_alpha_logit"]) * u)
    tokens = tokens + w["temporal_attention_scale"] * w("temporal_dense").dense(attended)
    hidden = F.gelu(w("temporal_ffn.fc1").dense(w("temporal_ffn_norm").layer_norm(tokens)))
    tokens = tokens + w["temporal_ffn_scale"] * w("temporal_ffn.fc2").dense(hidden)
    x = tokens.permute(1, 2, 0).unflatten(-1, (h, width))
    return x + F.gelu(w("spatial_mixer.1").conv(w("spatial_mixer.0").conv(x, padding=1, groups=c)))


def hear(w: Weights, waveforms: Tensor) -> Tensor:
    """Wav2CLIP's embedding of waveforms [t, s] at 16 kHz."""
    spectrum = torch.stft(waveforms, 512, 353, window=torch.hann_window(512), return_complex=True)
    x = torch.log(spectrum.abs() ** 2 + 1e-7)
    x = ((x - x.mean()) / (x.std() + 1e-9))[:, None]

    def normed(name: str, x: Tensor) -> Tensor:
        n = w(name)
        return F.batch_norm(x, n["running_mean"], n["running_var"], n["weight"], n["bias"])

    encoder = "audio_encoder"
    x = F.relu(normed(f"{encoder}.bn1", w(f"{encoder}.conv1").conv(x, stride=2, padding=3)))
    x = F.max_pool2d(x, 3, 2, 1)
    for stage in range(1, 5):
        for block in (0, 1):
            at, stride = f"{encoder}.layer{stage}.{block}", 2 if stage > 1 and not block else 1
            y = F.relu(normed(f"{at}.bn1", w(f"{at}.conv1").conv(x, stride=stride, padding=1)))
            y = normed(f"{at}.bn2", w(f"{at}.conv2").conv(y, padding=1))
            if stride == 2:
                x = normed(f"{at}.downsample.1", w(f"{at}.downsample.0").conv(x, stride=2))
            x = F.relu(x + y)
    hidden = F.relu(w("audio_transform.sequential.0").dense(x.mean((2, 3))))
    return w("audio_transform.sequential.3").dense(hidden)


def with_sound(w: Weights, x: Tensor, sound: Tensor) -> Tensor:
    """x [t, c, h, w], sound [t, d]: attention with its one key leaves the value."""
    places = x.flatten(2).mT
    q, k = w("visual_proj").dense(places), w("audio_proj").dense(sound)
    relevance = w("relevance_selector.0").dense(torch.cat([q.mean(1), k], -1))
    relevance = torch.sigmoid(w("relevance_selector.2").dense(F.relu(relevance)))[:, None]
    n, attn = k.shape[-1], w("cross_attn")
    value = attn("out_proj").dense(F.linear(k, attn["in_proj_weight"][2 * n :], attn["in_proj_bias"][2 * n :]))
    gamma, beta = w("film_generator.2").dense(F.relu(w("film_generator.0").dense(value)))[:, None].chunk(2, -1)
    out = w("out_proj").dense(q * (1 + relevance * torch.tanh(gamma)) + relevance * beta)
    return w("norm").layer_norm(out + places).mT.unflatten(-1, x.shape[2:])


# ---------------------------------------------------------------- hyperbolic space


def exp0(x: Tensor, c: Tensor) -> Tensor:
    length = c.sqrt() * x.norm(dim=-1, keepdim=True)
    return torch.sinh(length.clamp(1e-8, float(np.arcsinh(2.0**15)))) * x / length.clamp_min(1e-8)


def log0(x: Tensor, c: Tensor) -> Tensor:
    reach = torch.acosh((1 + c * (x**2).sum(-1, keepdim=True)).sqrt().clamp_min(1 + 1e-4))
    return reach * x / (c.sqrt() * x.norm(dim=-1, keepdim=True)).clamp_min(1e-4)


def times(x: Tensor, c: Tensor) -> Tensor:
    return (1 / c + (x**2).sum(-1, keepdim=True)).sqrt()


def far(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
    inner = (x * y).sum(-1, keepdim=True) - times(x, c) * times(y, c)
    return torch.acosh((-c * inner).clamp_min(1 + 1e-4)) / c.sqrt()


def radius(x: Tensor, c: Tensor) -> Tensor:
    return torch.acosh((c.sqrt() * times(x, c)).clamp_min(1 + 1e-8)) / c.sqrt()


def curvature(logarithm: Tensor) -> Tensor:
    return logarithm.exp()


def to_points(w: Weights, x: Tensor) -> Tensor:
    """Vectors in the last axis, of a length of at most 8."""
    x = x * w["alpha"].exp()
    length = x.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return exp0(x * (length.clamp_max(8.0) / length), curvature(w["curv"]))


def of_pixels(function, x: Tensor) -> Tensor:
    """Applies a function of vectors in the last axis to the channels of [b, c, h, w]."""
    return function(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def operator(w: Weights, x: Tensor, point: Tensor, weights: Tensor) -> Tensor:
    c, size = curvature(w("map")["curv"]), x.shape[1]
    hidden = F.silu(w("cond_gate.mlp.0").dense(radius(point, c)))
    gate = 0.5 * torch.tanh(torch.sigmoid(w("cond_gate.mlp.2").dense(hidden)))[:, :, None, None]

    def points(x: Tensor) -> Tensor:
        z = of_pixels(lambda v: to_points(w("map"), v), x)
        left = z[..., :1].clamp_min((1 / c.sqrt() + 1e-4).item())  # the left column of pixels
        return torch.cat([left, z[..., 1:]], -1).clamp(-1e6, 1e6)

    x = of_pixels(lambda v: log0(v, c), points(x))
    length = x.norm(dim=-1, keepdim=True).clamp_min(1e-6)  # over the width
    x = x * (10.0 / length).clamp(max=1) * (1 + gate)
    x = of_pixels(lambda v: log0(v, c), points(x))
    near = w("op0.1").conv(w("op0.0").conv(x, padding=1, groups=size))
    wide = w("op1.1").conv(w("op1.0").conv(x, padding=2, dilation=2, groups=size))
    whole = w("op2_proj.1").conv(x.mean((2, 3), keepdim=True))
    parts = [F.silu(part) * weights[:, i, None, None, None] for i, part in enumerate((near, wide, whole))]
    return w("mix").conv(sum(parts))


def scales(w: Weights, text: Tensor, point: Tensor) -> Tensor:
    hidden = F.gelu(w("scale_mlp.1").dense(w("scale_mlp.0").layer_norm(text)))
    anchors = to_points(w("map"), w["scale_anchors_tan"])
    apart = far(point[:, None], anchors[None], curvature(w("map")["curv"]))[..., 0]
    return F.softplus(w("scale_mlp.3").dense(hidden)) * (1 + torch.softmax(-apart, -1))


def upsampled(w: Weights, x: Tensor, text: Tensor, point: Tensor) -> Tensor:
    x = w("norm").group_norm(F.conv_transpose2d(x, w["up_conv.weight"], w["up_conv.bias"], stride=2))
    gamma, beta = w("style_mlp.1").dense(F.silu(text))[:, :, None, None].chunk(2, 1)
    x = x * (1 + gamma) + beta
    mixed = operator(w("ms_op"), x, point, scales(w("scale_gate"), text, point))
    r = radius(point, curvature(w("scale_gate.map")["curv"])).clamp(0, 1)
    return F.relu(x + (0.1 + 0.4 * r)[:, :, None, None] * mixed)


def squeezed(w: Weights, x: Tensor) -> Tensor:
    return x * torch.sigmoid(w("fc.2").dense(F.relu(w("fc.0").dense(x.mean((2, 3))))))[:, :, None, None]


def last(w: Weights, x: Tensor, text: Tensor, point: Tensor) -> Tensor:
    plain, c = w("final_conv").conv(x, padding=1), curvature(w("global_map")["curv"])
    shape = w("shape_predictor.2").dense(F.relu(w("shape_predictor.0").dense(text))).unflatten(-1, (6, 4)).sigmoid()
    seen = to_points(w("global_map"), w("img_to_hyp_tan").dense(x.mean((2, 3))))
    r = radius(point, c)
    known = torch.cat([log0(seen, c), log0(point, c), far(seen, point, c), radius(seen, c), r], -1)
    amount = w("amp_mlp.3").dense(F.gelu(w("amp_mlp.1").dense(w("amp_mlp.0").layer_norm(known)))).sigmoid()
    y = torch.linspace(0, 1, x.shape[2])[:, None]
    xs = torch.linspace(0, 1, x.shape[3])[None]
    cx, cy, sx, sy = (shape[..., i, None, None] for i in range(4))
    sx, sy = 0.5 * sx + 0.05, 0.5 * sy + 0.05
    bumps = torch.exp(-((xs - cx) ** 2 / (2 * sx**2) + (y - cy) ** 2 / (2 * sy**2)))
    prior = (amount[..., None, None] * bumps).sum(1, keepdim=True)
    mixed = operator(w("ms_op"), plain, point, scales(w("scale_gate"), text, point))
    return plain + 0.5 * prior + (0.2 + 0.5 * r.clamp(0, 1))[:, :, None, None] * mixed


# ---------------------------------------------------------------- the whole


def network(state: dict[str, Tensor], images: Tensor, text: Tensor, sound: Tensor | None) -> dict[str, Tensor]:
    """Images [t, 3, h, w] of a clip, text [t, s], sound [t, d] or None."""
    w, whole = Weights(state)("head"), Weights(state)
    levels = [w(f"projects.{i}").conv(level) for i, level in enumerate(trunk(whole("backbone"), images))]
    levels[2:] = [over_time(w(f"motion_modules.{i}"), levels[i]) for i in (2, 3)]
    if sound is not None:
        levels[3] = with_sound(w("av_fusion"), levels[3], sound)
    c = curvature(w["curv"])
    factor = {name: w[f"{name}_alpha"].exp() for name in ("visual", "textual")}
    image = exp0(w("visual_proj").dense(levels[3].mean((2, 3))) * factor["visual"], c)
    point = exp0(w("textual_proj").dense(text) * factor["textual"], c)
    anchor = exp0(w["none_anchor_tan"] * factor["textual"], c).expand(len(images), -1)
    x = F.silu(w("start_proj.1").group_norm(w("start_proj.0").conv(levels[3]), 32))
    for stage in (1, 2, 3):
        x = upsampled(w(f"decoder_stage{stage}"), x, text, point)
        skip = F.interpolate(levels[3 - stage], size=x.shape[2:], mode="bilinear", align_corners=False)
        x = F.silu(w(f"fuse{stage}.1").group_norm(w(f"fuse{stage}.0").conv(torch.cat([x, skip], 1))))
        x = squeezed(w(f"se{stage}"), x)
    logits = last(w("decoder_out"), x, text, point)
    logits = F.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=True)[:, 0]
    return {"logits": logits, "image": image, "text": point, "anchor": anchor, "curvature": c}


def losses(output: dict[str, Tensor], density: Tensor) -> dict[str, Tensor]:
    """The three terms of each frame."""
    s, c = output["logits"].sigmoid().flatten(1), output["curvature"]
    g = density.flatten(1)
    p, q = s / s.sum(1, keepdim=True), g / g.sum(1, keepdim=True)
    kl = (q * (q.clamp_min(1e-12).log() - p.clamp_min(1e-12).log())).sum(1)
    a, b = s - s.mean(1, keepdim=True), g - g.mean(1, keepdim=True)
    cc = (a * b).sum(1) / ((a**2).sum(1).sqrt() * (b**2).sum(1).sqrt())
    sim = torch.minimum(p, q).sum(1)

    def beyond(x: Tensor, y: Tensor, share: float) -> Tensor:
        xt, yt = times(x, c)[..., 0], times(y, c)[..., 0]
        inner = c * ((x * y).sum(-1) - xt * yt)
        below = x.norm(dim=-1) * (inner**2 - 1).clamp_min(1e-8).sqrt() + 1e-8
        angle = torch.acos(((yt + inner * xt) / below).clamp(-1 + 1e-6, 1 - 1e-6))
        cone = torch.asin((0.2 / (x.norm(dim=-1) * c.sqrt() + 1e-4)).clamp(-1 + 1e-4, 1 - 1e-4))
        return (angle - share * cone).clamp_min(0)

    image, text, anchor = (output[name] for name in ("image", "text", "anchor"))
    return {
        "aam": kl - cc - sim,
        "aam_distance": far(image, text, c)[:, 0],
        "aam_entailment": 0.5 * (beyond(text, image, 0.8) + beyond(anchor, text, 1.0)),
    }


def golden(seed: int = 0) -> dict[str, np.ndarray]:
    """What the drawn network gives for the drawn inputs, with and without sound, and its gradients."""
    torch.manual_seed(0)
    state = {key: torch.from_numpy(np.array(x)) for key, x in case.drawn(case.aam(), seed).items()}
    heard = Weights({key: torch.from_numpy(x) for key, x in case.drawn(case.wav2clip(), seed).items()})
    given = {key: torch.from_numpy(x) for key, x in case.inputs(seed).items()}
    images, text = given["video"][0].permute(0, 3, 1, 2), given["text"].expand(case.FRAMES, -1)
    for key in state:  # in place, as released: the gradient is that at the bound
        if key.endswith("alpha"):
            state[key].clamp_(max=0)
        if key.endswith("curv"):
            state[key].clamp_(float(np.log(0.1)), float(np.log(10)))
    for key in LEARNED:
        state[key].requires_grad_()
    sound = hear(heard, given["audio"].reshape(case.FRAMES, -1))
    muted = network(state, images, text, None)
    full = network(state, images, text, sound)
    terms = losses(full, given["density"][0])
    (terms["aam"] + 0.4 * terms["aam_distance"] + terms["aam_entailment"]).mean().backward()
    result = {"av_logits": full["logits"], "v_logits": muted["logits"]}
    result |= {"sound": sound} | {f"loss_{name}": x for name, x in terms.items()}
    result |= {f"grad:{key}": state[key].grad for key in LEARNED}
    return {name: x.detach().numpy() for name, x in result.items()}


if __name__ == "__main__":
    np.savez_compressed(GOLDEN, **golden())
    print(f"wrote {GOLDEN}, {GOLDEN.stat().st_size} bytes")
