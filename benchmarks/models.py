"""Benchmark of every published network: parity with the official code, parameters, FLOP and time of a forward pass.

    python -m benchmarks.models [--models=vinet,stavis] [--shared=DIR] [--timed_runs=3] [--models_json=runs/models.json]

One clip, float32, at the published size. Parity is the largest error of the network's output with random weights, seed
0, relative to the largest recorded value; it needs the folder of recorded outputs, by --shared or AVSD_SHARED, and is
left empty without. GFLOP are counted in the traced program with direct convolutions: two for each
multiply-add of a convolution or a matrix product, nothing else. The time is that of the default lowering on this
machine, the minimum of the repeats. It writes JSON and prints a Markdown table.
"""

import argparse
import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
from jax.extend.core import jaxprs_in_params

from avsd_jax import models
from avsd_jax.common import cli
from avsd_jax.common.by_name import available
from avsd_jax.errors import InputError
from avsd_jax.models import classifiers
from avsd_jax.models.classifiers import avenet_hardway
from avsd_jax.nn import conv2d
from avsd_jax.testing import parity
from avsd_jax.torch_import import options, to_variables

SEED = 0
Draw = Callable[[str, tuple[int, ...]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Network:
    """A row of the table.

    Attributes:
        model: module of `avsd_jax.models`, or of its classifiers.
        inputs: (draw, recorded arrays) -> {name: [B, ...]}; without parity material there are no recorded arrays.
        case: the recorded case, "folder/name"; "" if there is none.
        official: recorded arrays -> the output that ours must equal, [B, ...].
        ours: our output -> the same.
        variant: its name in the table.
        weights: the recorded weights, "folder/name", if their name differs from the case.
        options: of the model.
        method: of the model, if it is not called itself.
    """

    model: str
    inputs: Callable[[Draw, Mapping[str, np.ndarray]], dict[str, np.ndarray]]
    case: str
    official: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    ours: Callable[[Any], jax.Array]
    variant: str = ""
    weights: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    method: str | None = None

    @property
    def is_classifier(self) -> bool:
        """Returns whether it is called with frames and a spectrogram instead of a batch."""
        return self.model in available("avsd_jax.models.classifiers")


# ---------------------------------------------------------------- inputs


def _clip(frames: int, height: int, width: int, batch: int = 1, scale: float = 1.0) -> Callable:
    def inputs(draw: Draw, _: Mapping) -> dict[str, np.ndarray]:
        return {"video": scale * draw("video", (batch, 3, frames, height, width)).transpose(0, 2, 3, 4, 1)}

    return inputs


def _avinet(draw: Draw, _: Mapping) -> dict[str, np.ndarray]:
    audio = np.float32(0.1) * draw("audio", (1, 1, 70560, 1))[:, 0, :, 0]
    return _clip(32, 224, 384, scale=0.25)(draw, _) | {"audio": audio}


def _stavis(draw: Draw, _: Mapping) -> dict[str, np.ndarray]:
    return _clip(16, 112, 112, batch=2)(draw, _) | {"audio": draw("audio", (2, 1, 1, 35280))[:, 0, 0]}


def _dave(draw: Draw, _: Mapping) -> dict[str, np.ndarray]:
    patches = draw("audio", (1, 3, 16, 64, 64)).transpose(0, 2, 3, 4, 1)
    return _clip(16, 256, 320)(draw, _) | {"spectrogram": patches}


def _pictures(draw: Draw, names: Sequence[str], batch: int, side: int) -> np.ndarray:
    """Draws images of these names as the frames [B, T, H, W, 3] of clips."""
    frames = np.stack([2 * draw(name, (batch, 3, side, side)) for name in names], axis=1)
    return frames.transpose(0, 1, 3, 4, 2)


def _three(draw: Draw, side: int) -> np.ndarray:
    """Draws frames [1, 3, H, W, 3] as one clip."""
    return 2 * draw("video", (1, 3, 3, side, side)).transpose(0, 1, 3, 4, 2)


def _switch(kept: Mapping, batch: int) -> np.ndarray:
    return kept["switch"][:, 1] if kept else np.ones(batch, np.float32)


def _stanet_cvpr(draw: Draw, kept: Mapping) -> dict[str, np.ndarray]:
    sound = draw("audio", (1, 1, 257, 48))[:, 0]
    return {"video": _three(draw, 356), "spectrogram": sound, "switch": _switch(kept, 1)}


def _stanet_later(draw: Draw, kept: Mapping) -> dict[str, np.ndarray]:
    # The later releases list the predicted frame first.
    video = _pictures(draw, ("img2", "img1", "img3"), 1, 356)
    sounds = np.stack([draw(f"aud{i}", (1, 257, 48)) for i in (2, 1, 3)], axis=1)
    switch = {"switch": kept["switch"][None, [1, 0, 2]]} if "switch" in kept else {}
    return {"video": video, "spectrogram": sounds} | switch


def _scam(side: int, sound: str = "") -> Callable:
    def inputs(draw: Draw, kept: Mapping) -> dict[str, np.ndarray]:
        batch = {"video": _pictures(draw, ("img",), 2, side)}
        if sound == "aud":
            batch["spectrogram"] = draw("aud", (2, 257, 48))
        if sound == "audio":
            batch |= {"spectrogram": draw("audio", (2, 1, 257, 48))[:, 0], "switch": _switch(kept, 2)}
        return batch

    return inputs


def _classifier(picture: tuple[str, int] | None, steps: int, scale: float) -> Callable:
    def inputs(draw: Draw, _: Mapping) -> dict[str, np.ndarray]:
        frames = np.zeros((2, 1, 8, 8, 3), np.float32)  # unused
        if picture:
            name, side = picture
            frames = scale * draw(name, (2, 3, side, side)).transpose(0, 2, 3, 1)[:, None]
        return {"frames": frames, "audio": draw("audio", (2, 1, 257, steps))[:, 0]}

    return inputs


def _avid(draw: Draw, _: Mapping) -> dict[str, np.ndarray]:
    frames = draw("video", (2, 3, 8, 224, 224)).transpose(0, 2, 3, 4, 1)
    return {"frames": frames, "audio": draw("audio", (2, 1, 200, 257))[:, 0]}


def _soundnet(draw: Draw, _: Mapping) -> dict[str, np.ndarray]:
    return {"audio": draw("audio", (2, 1, 70560, 1))[:, 0, :, 0]}


def _unisal(draw: Draw, kept: Mapping) -> dict[str, np.ndarray]:
    return {"video": draw("dyn_DHF1K", (1, 4, 3, 96, 128)).transpose(0, 1, 3, 4, 2)}


def _unisal_av(draw: Draw, _: Mapping) -> dict[str, np.ndarray]:
    video = draw("video", (1, 12, 3, 224, 384)).transpose(0, 1, 3, 4, 2)
    return {"video": video, "audio": draw("audio", (1, 12, 35280))}


def _aam(draw: Draw, _: Mapping) -> dict[str, np.ndarray]:
    video = draw("video", (1, 1, 3, 448, 448)).transpose(0, 1, 3, 4, 2)
    return {"video": video, "audio": np.float32(0.1) * draw("audio", (1, 1, 32000))}


def _vggsound(draw: Draw, _: Mapping) -> dict[str, np.ndarray]:
    return {"spectrogram": draw("audio", (2, 1, 257, 200))[:, 0]}


# ---------------------------------------------------------------- the rows


def _key(name: str) -> Callable[[Mapping], Any]:
    return lambda arrays: arrays[name]


def _networks() -> Iterator[Network]:
    saliency, tags, given = _key("saliency"), _key("tag_logits"), _key("output")
    full = _clip(32, 224, 384, scale=0.25)
    yield Network("vinet", full, "vinet/vinet_full", given, saliency, weights="vinet/vinet")
    yield Network("avinet", _avinet, "vinet/avinet", given, saliency, "bilinear")
    for fusion in ("transformer", "bilinear_transformer"):
        yield Network("avinet", _avinet, f"vinet/avinet_{fusion}", given, saliency, fusion, options={"fusion": fusion})
    first = lambda kept: kept["saliency"][:, 0]  # noqa: E731
    yield Network("stavis", _stavis, "stavis/audiovisual", first, saliency)
    visual = _clip(16, 112, 112, batch=2)
    yield Network("stavis_visual", visual, "stavis/visual", first, saliency, weights="stavis/audiovisual")
    yield Network(
        "stanet",
        _stanet_cvpr,
        "stanet/stacvpr",
        lambda kept: kept["out_train"][None],
        lambda out: out["saliency"][:, ::4, ::4],
        "cvpr",
        "stanet/sta_cvpr",
    )
    for release, name in (("2021", "out_p02_full"), ("2022", "out0_0_full")):
        yield Network(
            "stanet",
            _stanet_later,
            f"stanet/sta{release}",
            lambda kept, name=name: kept[name][None],
            _key("logits"),
            release,
            f"stanet/sta_{release}",
            {"release": release},
        )
    yield Network("dave", _dave, "dave/dave", _key("full_logits"), _key("logits"))
    heard = lambda kept: kept["output"][..., 0].transpose(0, 2, 1)  # noqa: E731
    yield Network("soundnet8", _soundnet, "vinet/soundnet", heard, _key("audio_features"))
    logits = _key("out_logits")
    for pool in ("vlad", "avgpool"):
        case = f"stanet/vggsound_{pool}"
        yield Network("vggsound", _vggsound, case, logits, _key("class_logits"), pool, options={"pool": pool})
    # The port's class 0 is "corresponds", ours is class 1.
    swapped = lambda out: out[:, ::-1]  # noqa: E731
    yield Network("l3net", _classifier(("image", 224), 199, 1), "avc/l3net", _key("logits"), swapped)
    yield Network("avenet", _classifier(("image", 224), 199, 1), "avc/avenet", _key("logits"), swapped)
    similarity = lambda out: (out[:, 1] - avenet_hardway.SHIFT) / avenet_hardway.SCALE  # noqa: E731
    hardway = _classifier(("image", 224), 200, 1)
    yield Network("avenet_hardway", hardway, "avc/avenet_hardway", _key("max_similarity"), similarity)
    yield Network("avid", _avid, "avc/avid", _key("video_emb"), _key("video"), method="embed")
    heard_only = _classifier(None, 48, 1)
    case = "stanet/switch_audio"
    yield Network(
        "soundswitch_audio", heard_only, case, _key("out_softmax"), jax.nn.softmax, weights="stanet/soundswitch_audio"
    )
    both = _classifier(("video", 356), 48, 2)
    yield Network("soundswitch_av", both, "stanet/switch_av", logits, lambda out: out, weights="stanet/soundswitch_av")
    yield Network("scam_s", _scam(256), "stanet/scam_s", _key("out_x2ss"), tags)
    yield Network("scam_sa", _scam(256, "aud"), "stanet/scam_sa", _key("out_x2ss"), tags)
    around = lambda draw, _: {"video": _pictures(draw, ("img2", "img1", "img3"), 1, 256)}  # noqa: E731
    yield Network("scam_st", around, "stanet/scam_st", _key("out_x1sss"), lambda out: out["tag_logits"][:, 1])
    for name, inputs in (
        ("s", _scam(256)),
        ("sa", _scam(224, "audio")),
        ("st", lambda draw, _: {"video": _three(draw, 256)}),
    ):
        case = f"{name}_coarse"
        yield Network(
            f"scam_cvpr_{name}", inputs, f"stanet/cvpr_{case}", logits, tags, weights=f"stanet/scam_cvpr_{case}"
        )
    recorded = lambda kept: kept["dyn_DHF1K:logprob"]  # noqa: E731
    yield Network("unisal", _unisal, "unisal/unisal", recorded, _key("log_density"), "4 frames of 96x128")
    yield Network("unisal", _unisal_av, "", saliency, saliency, "12 frames of 224x384")
    yield Network("unisal_av", _unisal_av, "", saliency, saliency, "12 frames of 224x384")
    # No map of a trained file is known: tests compare a small one with a second implementation.
    yield Network("aam", _aam, "", saliency, saliency, "one frame", options={"clip_size": 1})


NETWORKS = tuple(_networks())

# ---------------------------------------------------------------- measuring


def flops(jaxpr: Any) -> int:
    """Counts two for each multiply-add of a program's convolutions and matrix products, including nested programs."""
    total = 0
    for eqn in jaxpr.eqns:
        size = math.prod(eqn.outvars[0].aval.shape) if eqn.outvars else 0
        if eqn.primitive.name == "conv_general_dilated":
            kernel = eqn.invars[1].aval.shape
            out = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
            total += 2 * size * math.prod(kernel) // out
        elif eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            total += 2 * size * math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
        else:
            total += eqn.params.get("length", 1) * sum(map(flops, jaxprs_in_params(eqn.params)))
    return total


def forward(network: Network, lowering: str, found: Mapping[str, Any]) -> tuple[Any, Callable]:
    """Builds the module, and a function (variables, batch) -> the output that is compared."""
    package = classifiers if network.is_classifier else models
    fields = package.create(network.model).__dataclass_fields__
    choices = {**found, **network.options} | ({"lowering": lowering} if "lowering" in fields else {})
    module = package.create(network.model, **choices)

    def call(variables: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
        return network.ours(module.apply(variables, *arguments(network, batch), method=network.method))

    return module, call


def arguments(network: Network, batch: Mapping[str, Any]) -> tuple[Any, ...]:
    """Returns the arguments of the network."""
    return (batch["frames"], batch["audio"]) if network.is_classifier else (batch,)


def measure(network: Network, shared: Path | None, repeats: int) -> dict[str, Any]:
    """Measures one row: parity (None without a recording), parameters in millions, GFLOP, milliseconds of one clip."""
    shared = shared if network.case else None
    kept, found, drawn = {}, {}, None
    rng = np.random.default_rng(SEED)

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if shared:
            return parity.drawn_input(shared, name, shape, SEED)
        return rng.standard_normal(shape, np.float32)

    if shared:
        kept = parity.load(shared, network.case, SEED)
        weights = network.weights or network.case
        stavis = weights == "stavis/audiovisual"
        checkpoint = parity.stavis_state_dict(shared, SEED) if stavis else parity.state_dict(shared, weights, SEED)
        found = options(network.model, checkpoint)
        drawn = to_variables(network.model, checkpoint)
    batch = {name: np.asarray(x, np.float32) for name, x in network.inputs(draw, kept).items()}
    clips = [{name: x[i : i + 1] for name, x in batch.items()} for i in range(len(next(iter(batch.values()))))]

    direct, count = forward(network, "direct", found)
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    shapes = jax.eval_shape(direct.init, rngs, *arguments(network, clips[0]))
    if drawn is None:
        drawn = jax.tree.map(lambda x: rng.uniform(0.01, 0.02, x.shape).astype(np.float32), shapes)
    parameters = sum(math.prod(x.shape) for x in jax.tree.leaves(shapes["params"]))
    with mock.patch.object(conv2d, "JOINED", 0):  # merging groups would add to the count
        operations = flops(jax.make_jaxpr(count)(shapes, clips[0]).jaxpr)

    _, call = forward(network, "auto", found)
    compiled = jax.jit(call).lower(drawn, clips[0]).compile()
    drawn, clips = jax.device_put((drawn, clips))
    outputs, seconds = [], []
    for run in range(max(repeats, len(clips) if shared else 1)):
        start = time.perf_counter()
        out = compiled(drawn, clips[run % len(clips)]).block_until_ready()
        seconds.append(time.perf_counter() - start)
        outputs.append(np.asarray(out))
    error = None
    if shared:
        expected = network.official(kept)
        ours = np.concatenate(outputs[: len(clips)])
        if ours.shape != expected.shape:
            raise InputError(f"{network.model} gives {ours.shape} where {expected.shape} was recorded in {shared}")
        error = float(np.abs(ours - expected).max() / np.abs(expected).max())
    return {
        "model": network.model,
        "variant": network.variant,
        "input": {name: list(x.shape[1:]) for name, x in batch.items()},
        "parity": error,
        "parameters_m": parameters / 1e6,
        "gflop": operations / 1e9,
        "ms": 1e3 * min(seconds),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Formats the rows as a Markdown table."""
    lines = ["| model | variant | parity error | parameters, M | GFLOP | forward, ms |", "|---|---|---|---|---|---|"]
    for row in rows:
        parity = "" if row["parity"] is None else f"{row['parity']:.1e}"
        figures = f"{row['parameters_m']:.2f} | {row['gflop']:.2f} | {row['ms']:.0f}"
        lines.append(f"| {row['model']} | {row['variant']} | {parity} | {figures} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    parser = cli.Parser("python -m benchmarks.models", __doc__)
    parser.add_argument(
        "--models",
        type=lambda text: text.split(","),
        default=[],
        metavar="NAME[,NAME...]",
        help="names of models to measure; all where none is given",
    )
    parser.add_argument("--shared", default=os.environ.get("AVSD_SHARED"), help="folder that holds parity/")
    parser.add_argument("--timed_runs", type=cli.positive, default=3, help="timed runs of each network (default: 3)")
    parser.add_argument("--models_json", default="runs/models.json", help="where the figures are written")
    return cli.run(lambda: _measure_command_line(parser.parse_args(argv)))


def _measure_command_line(args: argparse.Namespace) -> None:
    known = dict.fromkeys(network.model for network in NETWORKS)
    for name in args.models:
        if name not in known:
            raise InputError(f"unknown model {name!r}: choose of {', '.join(known)}")
    shared = Path(args.shared) if args.shared else None
    if shared and not (shared / "parity").is_dir():
        raise InputError(f"no parity material at {shared}: give --shared the folder that holds parity/")
    out, rows = Path(args.models_json), []
    out.parent.mkdir(parents=True, exist_ok=True)
    for network in NETWORKS:
        if not args.models or network.model in args.models:
            rows.append(measure(network, shared, args.timed_runs))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    device = f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores"
    out.write_text(json.dumps({"device": device, "repeats": args.timed_runs, "rows": rows}, indent=2) + "\n")
    print(f"\n{device}, one clip, float32, min of {args.timed_runs}\n\n{table(rows)}")


if __name__ == "__main__":
    sys.exit(main())
