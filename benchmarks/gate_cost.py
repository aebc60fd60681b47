"""Benchmark of the gate's cost: time per frame of the gated model over that of the plain one, which is always fused.

    python -m benchmarks.gate_cost [--config=configs/avinet.py:demo] [--every=0.25] [--frames=25] [--size=640x360]
                                   [--rounds=5] [--workdir=runs/gate_cost] [--config.FIELD=VALUE ...]

Both models have the same random weights and predict the same video file, as `avsd_jax.predict` does: decoding,
preprocessing, model, overlay and timeline. Each round runs one after the other, so that other load affects both alike;
the first round compiles and is not counted. `--every=0.25,0` also times a score for every frame. The published size is
`--config=configs/avinet.py:star`.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from avsd_jax.common import cli, logs
from avsd_jax.common.atomic_files import make_folder
from avsd_jax.common.programs import keep_programs
from avsd_jax.experiment import command_line
from avsd_jax.prediction.predictor import Predictor
from avsd_jax.runs.checkpoint import save_variables
from avsd_jax.runs.components import Inference
from avsd_jax.runs.initial import initial_variables
from benchmarks.video_files import write_video

PLAIN = "plain"


def runs_of(config: ConfigDict, folder: Path, video: Path, grids: Sequence[float]) -> dict[str, Callable[[], None]]:
    """Builds the runs by name: the plain model, and the gated one with a score every so many seconds."""
    config = config.copy_and_resolve_references().unlock()
    config.rows = ()
    config.model.gate = "classifier"
    variables = initial_variables(config, Inference.from_config(config))
    predictors = {}
    for gate in ("always", "classifier"):
        config.model.gate = gate
        save_variables(folder / gate, config, variables)
        predictors[gate] = Predictor(folder / gate)

    def run(gate: str, every: float | None) -> Callable[[], None]:
        out = folder / f"out_{gate}"
        return lambda: predictors[gate].run(video, out, maps="none", every=every, progress=False) and None

    return {PLAIN: run("always", None)} | {f"gated, every {every:g} s": run("classifier", every) for every in grids}


def measure(runs: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Measures the seconds of each run, interleaved, after a round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def table(seconds: Mapping[str, Sequence[float]], frames: int) -> str:
    """Formats the medians over rounds as a Markdown table; of the ratios to the plain model also the extremes."""
    lines = ["| model | ms per frame | of the plain model | least and most of a round |", "|---|---:|---:|---:|"]
    plain = np.array(seconds[PLAIN])
    for name, times in seconds.items():
        ratios = np.array(times) / plain
        spread = f"{ratios.min():.3f} to {ratios.max():.3f}"
        lines.append(f"| {name} | {1000 * np.median(times) / frames:.1f} | {np.median(ratios):.3f} | {spread} |")
    return "\n".join(lines)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses a command line.

    Raises:
        InputError: an option is unknown or has a wrong value.
    """
    parser = command_line.parser("python -m benchmarks.gate_cost", __doc__, "configs/avinet.py:demo", "runs/gate_cost")
    parser.add_argument("--every", type=_numbers, default=[0.25], help="seconds between two scores (default: 0.25)")
    parser.add_argument("--frames", type=cli.positive, default=25, help="of the video, 25 per second (default: 25)")
    parser.add_argument("--size", type=_size, default=(640, 360), help="of the video (default: 640x360)")
    parser.add_argument("--rounds", type=cli.positive, default=5, help="timed runs of each model (default: 5)")
    return command_line.parse(parser, argv)


def _numbers(text: str) -> list[float]:
    return [cli.number(0.0, 3600.0)(part) for part in text.split(",")]


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    return command_line.run(lambda: _measure_command_line(parse(argv)))


def _measure_command_line(args: argparse.Namespace) -> None:
    make_folder(args.workdir)
    with tempfile.TemporaryDirectory(dir=args.workdir) as name, logs.shown(args.verbose):
        keep_programs(args.config.compilation_cache)
        folder = Path(name)
        video = write_video(folder / "video.mp4", args.frames, *args.size)
        seconds = measure(runs_of(args.config, folder, video, args.every), args.rounds)
        print(table(seconds, args.frames))
    model = args.config.model
    height, width = args.config.frame_size
    print(
        f"{args.config.model_name}, {model.clip_size}x{height}x{width}, gated by {model.classifier}; "
        f"{args.frames} frames of {args.size[0]}x{args.size[1]}, {args.rounds} rounds, {jax.devices()[0].device_kind}"
    )


if __name__ == "__main__":
    sys.exit(main())
