"""Benchmark of the image models without weights: parity with recorded maps of the originals, and time of a frame.

    python -m benchmarks.image_models [--models=gbvs,itti] [--shared=DIR] [--size=640x360] [--timed_runs=10]

Parity is the largest difference between full maps in [0, 1], of photographs and of an evenly coloured drawing; it needs
the folder of recorded maps, by --shared or AVSD_SHARED, and is left empty without. The time is that of one compiled
call with a clip of smooth noise, the shortest of the runs. It prints a Markdown table.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from scipy import ndimage

from avsd_jax.common import cli
from avsd_jax.errors import InputError
from avsd_jax.models import awsd, gbvs, itti
from avsd_jax.models.common.network import Network

# Label: name, model, recorded file and key of the full map.
ROWS: dict[str, tuple[str, Network, str, str]] = {
    "GBVS": ("gbvs", gbvs.Model(), "gbvs_itti", "gbvs_full"),
    "GBVS, fast=True": ("gbvs", gbvs.Model(fast=True), "", ""),
    "GBVS with flicker and motion": ("gbvs", gbvs.Model(clip_size=2, cues="DIOFM"), "", ""),
    "Itti, variant a": ("itti", itti.Model(), "gbvs_itti", "itti_full"),
    "Itti, variant c": ("itti", itti.Model(variant="c"), "pysaliencymap_opencv", "pysaliencymap"),
    "adaptive whitening, 1 frame": ("awsd", awsd.Model(clip_size=1), "", ""),
    "adaptive whitening, 5 frames": ("awsd", awsd.Model(), "", ""),
}
DRAWINGS = ("popout",)


def errors(model: Network, shared: Path, file: str, key: str) -> tuple[float, float | None]:
    """Returns the largest errors over photographs and over drawings, of which there may be none."""
    worst = {False: 0.0, True: None}
    with np.load(shared / f"parity/baselines/golden_{file}.npz") as recorded:
        for name in sorted(entry.split("/")[0] for entry in recorded.files if entry.endswith("/image")):
            found = jax.jit(model.apply)({}, {"video": recorded[f"{name}/image"][None, None]})["saliency"][0]
            error = float(np.abs(found - recorded[f"{name}/{key}"].astype(np.float32)).max())
            worst[name in DRAWINGS] = max(error, worst[name in DRAWINGS] or 0.0)
    return worst[False], worst[True]


def milliseconds(model: Network, height: int, width: int, runs: int) -> float:
    """Returns the shortest time of a call with one clip."""
    noise = np.random.default_rng(0).random((1, model.clip_size, height, width, 3), np.float32)
    smooth = ndimage.gaussian_filter(noise, (0, 1, 8, 8, 0))
    video = jax.device_put((smooth - smooth.min()) / np.ptp(smooth))
    call, seconds = jax.jit(model.apply).lower({}, {"video": video}).compile(), []
    for _ in range(runs + 1):  # the first is not like the others
        start = time.perf_counter()
        jax.block_until_ready(call({}, {"video": video}))
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds[1:])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    names = sorted({name for name, *_ in ROWS.values()})
    parser = cli.Parser("python -m benchmarks.image_models", __doc__)
    parser.add_argument(
        "--models", type=lambda text: text.split(","), default=names, metavar="NAME[,NAME...]", help="all by default"
    )
    parser.add_argument("--shared", default=os.environ.get("AVSD_SHARED"), help="folder that holds parity/")
    parser.add_argument("--size", default="640x360", help="of the frames (default: 640x360)")
    parser.add_argument("--timed_runs", type=cli.positive, default=10, help="timed runs of each model (default: 10)")
    return cli.run(lambda: _measure_command_line(parser.parse_args(argv), names))


def _measure_command_line(args: argparse.Namespace, names: Sequence[str]) -> None:
    if unknown := [name for name in args.models if name not in names]:
        raise InputError(f"unknown model {unknown[0]!r}: choose of {', '.join(names)}")
    if args.shared and not (Path(args.shared) / "parity").is_dir():
        raise InputError(f"no parity material at {args.shared}: give --shared the folder that holds parity/")
    width, _, height = args.size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise InputError(f"--size={args.size}: give width and height, as in 640x360")
    print("| model | error, photographs | error, drawing | ms per frame |\n|---|---:|---:|---:|")
    for label, (name, model, file, key) in ROWS.items():
        if name in args.models:
            found = errors(model, Path(args.shared), file, key) if file and args.shared else (None, None)
            shown = ["" if error is None else f"{error:.1e}" for error in found]
            spent = milliseconds(model, int(height), int(width), args.timed_runs)
            print(f"| {label} | {' | '.join(shown)} | {spent:.1f} |", flush=True)
    print(f"\n{jax.devices()[0].device_kind}, {os.cpu_count()} cores, {args.size}, min of {args.timed_runs}")


if __name__ == "__main__":
    sys.exit(main())
