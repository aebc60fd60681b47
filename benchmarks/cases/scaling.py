"""Scaling.

The cost of a map against the frames of a clip, their size and the clips of a batch: the forward pass with random
weights. `python -m benchmarks.scaling_page FILE.json` draws plots from the record. A training step of a narrow ViNet
that is compiled for up to eight devices tells, without running it, the bytes that its collective operations move on
each of them, beside those of the gradients, and the arithmetic left to each.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from avsd_jax.common.compiler import compiler_options
from benchmarks import bare  # noqa: F401 (before the models)

from avsd_jax import models  # isort: skip
from benchmarks.measure import Row, Run, Setting, compare  # isort: skip

QUICK = False
# Sizes of frames; lengths and batches are those of the first.
NETWORKS = {
    "stavis": ("STAViS", ((112, 112), (160, 160), (224, 224))),
    "vinet": ("ViNet", ((64, 96), (128, 192), (256, 384))),
}
QUICK_NETWORK = "stavis"
LENGTHS, CLIPS = (8, 16, 32, 48), (1, 4, 8)
# Samples of the waveform that belong to a frame: 22050 Hz, 25 frames a second.
SAMPLES = 882
# SoundNet takes no shorter waveform.
FEWEST_SAMPLES = 16 * SAMPLES


class Point(NamedTuple):
    """A batch of clips."""

    frames: int
    height: int
    width: int
    clips: int = 1


class Sweep(NamedTuple):
    """Batches of which one measure grows: "frames", "pixels" or "clips"."""

    model: str
    title: str
    along: str
    points: tuple[Point, ...]


def sweeps(setting: Setting) -> list[Sweep]:
    """Returns what is measured on the device."""
    few = setting.pick(None, 2)
    found = []
    for model, (title, sizes) in NETWORKS.items():
        if setting.quick and model != QUICK_NETWORK:
            continue
        height, width = sizes[0]
        points = {
            "frames": [Point(n, height, width) for n in LENGTHS[:few]],
            "pixels": [Point(16, *size) for size in sizes[:few]],
            "clips": [Point(16, height, width, n) for n in CLIPS[:few]],
        }
        constant = {
            "frames": f"{height}x{width}",
            "pixels": "16 frames",
            "clips": f"16 frames of {height}x{width}",
        }
        found += [Sweep(model, f"{title}, {constant[along]}", along, tuple(points[along])) for along in points]
    return found


def our_run(sweep: Sweep, point: Point, seed: int) -> Run:
    """Compiles the forward pass of a batch and returns its run."""
    model = models.create(sweep.model, clip_size=point.frames)
    rng = np.random.default_rng(seed)
    batch = {"video": rng.standard_normal((point.clips, *point[:3], 3)).astype(np.float32)}
    if model.uses_audio:
        samples = max(point.frames * SAMPLES, FEWEST_SAMPLES)
        batch["audio"] = rng.standard_normal((point.clips, samples)).astype(np.float32)
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    shapes = jax.eval_shape(model.init, rngs, batch)
    variables = jax.tree.map(lambda x: rng.uniform(0.01, 0.1, x.shape).astype(x.dtype), shapes)
    given = jax.device_put((variables, jax.tree.map(jnp.asarray, batch)))
    options = {"compiler_options": compiler_options()}
    forward = jax.jit(lambda variables, batch: model.apply(variables, batch)["saliency"], **options)
    program = forward.lower(*given).compile()
    gflop = (program.cost_analysis() or {}).get("flops", float("nan")) / 1e9 / point.clips
    measure = {"frames": point.frames, "pixels": point.height * point.width, "clips": point.clips}[sweep.along]
    return Run(lambda: program(*given), units=point.clips, values={sweep.along: measure, "GFLOP a map": gflop})


def rows(setting: Setting) -> Iterator[Row]:
    """Yields the rows of each sweep, and then those of data parallelism."""
    for sweep in sweeps(setting):
        runs = {_name(sweep, point): our_run(sweep, point, setting.seed) for point in sweep.points}
        yield from compare(setting, f"{sweep.title}: {sweep.along}", runs, unit="map")
    yield from data_parallel(setting)


def _name(sweep: Sweep, point: Point) -> str:
    return {
        "frames": f"{point.frames} frames",
        "pixels": f"{point.height}x{point.width}",
        "clips": f"{point.clips} clip{'s' * (point.clips > 1)}",
    }[sweep.along]


def data_parallel(setting: Setting) -> Iterator[Row]:
    """Yields a row for each compiled step, of a process of its own, whose devices are CPUs."""
    command = [sys.executable, "-m", "benchmarks.collectives"]
    group = "training step over several devices"
    if setting.quick:
        yield Row(group, "collective operations", not_run="not in --quick, because compiling takes minutes")
        return
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=env, check=False)
    if done.returncode:
        yield Row(group, "collective operations", not_run=(done.stderr.strip().splitlines() or ["no output"])[-1])
        return
    found = [json.loads(line) for line in done.stdout.splitlines()]
    alone = {program["executor"]: program["gflop"] for program in found if program["devices"] == 1}
    for program in found:
        yield Row(group, f"{program['executor']}, {program['devices']}", values=_columns(program, alone))


def _columns(program: Mapping[str, Any], alone: Mapping[str, float]) -> dict[str, float]:
    moved, gradients = program["collective_bytes"], program["gradient_bytes"]
    return {
        "devices": program["devices"],
        "collective operations": program["collectives"],
        "MB moved": moved / 1e6,
        "MB of gradients": gradients / 1e6,
        "moved / gradients": moved / gradients,
        "GFLOP a device": program["gflop"],
        "share of one device's": program["gflop"] / alone[program["executor"]],
    }
