"""Benchmark of ViNet's forward pass: our lowerings, and plain PyTorch if it is installed.

    python -m benchmarks.forward [--clip=32] [--height=224] [--width=384] [--repeats=5] [--torch_compile]

One clip, float32, random weights. The implementations are interleaved, so that other load affects all of them alike;
the smallest and the median time of each are shown, and its ratio to the first row.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from avsd_jax import models
from avsd_jax.common import cli


def jax_run(video: np.ndarray, lowering: str) -> Callable[[], None]:
    """Compiles our model for [1, T, H, W, 3] and returns a function that runs it."""
    model = models.create("vinet", clip_size=video.shape[1], lowering=lowering)
    shapes = jax.eval_shape(model.init, jax.random.key(0), {"video": video})
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: rng.uniform(0.01, 0.1, x.shape).astype(x.dtype), shapes)
    forward = jax.jit(lambda variables, video: model.apply(variables, {"video": video})["saliency"])
    compiled = forward.lower(variables, video).compile()
    on_device = jax.device_put(video)
    return lambda: compiled(variables, on_device).block_until_ready()


def torch_runs(video: np.ndarray, with_compile: bool) -> dict[str, Callable[[], None]]:
    """Returns runs of a PyTorch network of the same shapes, on the CPU; none if PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        return {}
    from benchmarks.peers.vinet import ViNet

    torch.manual_seed(0)
    model = ViNet(video.shape[1]).eval()
    planar = torch.from_numpy(np.ascontiguousarray(video.transpose(0, 4, 1, 2, 3)))
    last = ViNet(video.shape[1]).eval().to(memory_format=torch.channels_last_3d)
    interleaved = planar.to(memory_format=torch.channels_last_3d)

    def run(model: Callable, video: "torch.Tensor") -> None:
        with torch.inference_mode():
            model(video)

    runs = {
        "PyTorch": lambda: run(model, planar),
        "PyTorch channels_last": lambda: run(last, interleaved),
    }
    if with_compile:
        fused = torch.compile(last)
        runs["PyTorch compiled"] = lambda: run(fused, interleaved)
    return runs


def measure(runs: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Measures the seconds of each run; the first round is a warm-up and not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def table(seconds: dict[str, list[float]]) -> str:
    """Formats the times as a Markdown table."""
    lines = ["| implementation | min s | median s | of the first |", "|---|---|---|---|"]
    first = next(iter(seconds.values()))
    for name, times in seconds.items():
        ratio = min(times) / min(first)
        lines.append(f"| {name} | {min(times):.3f} | {np.median(times):.3f} | {ratio:.2f} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    parser = cli.Parser("python -m benchmarks.forward", __doc__)
    parser.add_argument("--clip", type=cli.positive, default=32, help="frames of the clip (default: 32)")
    parser.add_argument(
        "--height", type=cli.positive, default=224, help="height of a frame, a multiple of 32 (default: 224)"
    )
    parser.add_argument(
        "--width", type=cli.positive, default=384, help="width of a frame, a multiple of 32 (default: 384)"
    )
    parser.add_argument(
        "--repeats", type=cli.positive, default=5, help="timed runs of each implementation (default: 5)"
    )
    parser.add_argument("--torch_compile", action="store_true", help="time torch.compile too; it needs a C++ compiler")
    return cli.run(lambda: _measure_command_line(parser.parse_args(argv)))


def _measure_command_line(args: argparse.Namespace) -> None:
    shape = (1, args.clip, args.height, args.width, 3)
    video = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    runs = {f"ours, {lowering}": jax_run(video, lowering) for lowering in ("folded", "direct")}
    plain = torch_runs(video, args.torch_compile) if args.clip in (16, 32) else {}
    print(f"ViNet, one clip {args.clip}x{args.height}x{args.width}, {jax.devices()[0].device_kind}")
    print(table(measure(runs | plain, args.repeats)))
    if not plain:
        print('PyTorch is not timed: pip install "avsd-jax[bench]", and give --clip=16 or 32')


if __name__ == "__main__":
    sys.exit(main())
