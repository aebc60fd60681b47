"""What data parallelism costs, read from compiled programs: bytes of collective operations, and work per device.

    python -m benchmarks.collectives [--devices=1,2,4,8] [--executors=jit,pmap] [--width=0.125]

It compiles a training step of ViNet for CPUs that share this machine's cores, so that times would mean nothing, while
the programs are those of as many devices; nothing is run. One line of JSON per program is printed.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from benchmarks import bare  # noqa: F401 (before the training step)

from avsd_jax import models  # isort: skip
from avsd_jax.common import cli  # isort: skip
from avsd_jax.common.parallel import EXECUTORS, make_mesh  # isort: skip
from avsd_jax.training.hyperparameters import Hyperparameters  # isort: skip
from avsd_jax.training.state import create_state  # isort: skip
from avsd_jax.training.step import make_train_step  # isort: skip

# Clips of the whole batch, and (frames, height, width) of each.
CLIPS, SIZE = 8, (8, 64, 64)
TERM = "kl"
# Passes over the program are as ever; only the code of loops, which never run, is not optimised.
COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "f64": 8}
_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
_COLLECTIVE = re.compile(rf"= (.*?) ({_KINDS})(?:-start)?\(")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")


class Program(NamedTuple):
    """What a compiled step moves and computes.

    Attributes:
        executor: "jit" or "pmap".
        devices: how many.
        collective_bytes: of the results of all collective operations, on each device.
        collectives: how many such operations there are.
        gradient_bytes: of the gradients of all parameters.
        gflop: of each device.
    """

    executor: str
    devices: int
    collective_bytes: int
    collectives: int
    gradient_bytes: int
    gflop: float


def collective_bytes(program: str) -> list[int]:
    """Returns the bytes of the results of each collective operation in the text of an HLO program."""
    return [
        sum(_BYTES[kind] * math.prod(int(n) for n in shape.split(",") if n) for kind, shape in _ARRAY.findall(types))
        for types, _ in _COLLECTIVE.findall(program)
    ]


def measure(executor_name: str, devices: int, width: float) -> Program:
    """Compiles a training step for so many devices."""
    executor = EXECUTORS[executor_name](make_mesh(jax.devices()[:devices]))
    model = models.create("vinet", clip_size=SIZE[0], width=width)
    rng = np.random.default_rng(0)
    batch = {
        "video": rng.standard_normal((CLIPS, *SIZE, 3)).astype(np.float32),
        "density": rng.uniform(size=(CLIPS, *SIZE[1:])).astype(np.float32),
    }
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), batch))
    variables = jax.tree.map(lambda x: np.full(x.shape, 0.01, x.dtype), shapes)
    optimizer, zero = optax.adam(1e-4), np.float32(0)
    scalars = Hyperparameters(np.uint32(0), zero, zero, zero, {TERM: np.float32(1)}, np.float32(1))
    step = make_train_step(model.clone(axis_name=executor.axis_name), optimizer, (TERM,), axis_name=executor.axis_name)
    state = executor.place_state(create_state(variables, optimizer, False))
    lowered = executor.jit(step).lower(state, executor.place_batch(batch), scalars)
    compiled = lowered.compile(compiler_options=COMPILE)
    moved = collective_bytes(compiled.as_text())
    gradients = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(variables["params"]))
    gflop = (compiled.cost_analysis() or {}).get("flops", math.nan) / 1e9
    return Program(executor_name, devices, sum(moved), len(moved), gradients, gflop)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    parser = cli.Parser("python -m benchmarks.collectives", __doc__)
    split = lambda kind: lambda text: [kind(part) for part in text.split(",")]  # noqa: E731
    parser.add_argument(
        "--devices", type=split(int), default=[1, 2, 4, 8], help="numbers of devices (default: 1,2,4,8)"
    )
    parser.add_argument("--executors", type=split(str), default=list(EXECUTORS), help="default: jit,pmap")
    parser.add_argument("--width", type=float, default=0.125, help="of the network (default: 0.125)")
    return cli.run(lambda: _command(parser.parse_args(argv)))


def _command(args: argparse.Namespace) -> None:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", max(args.devices))
    for executor in args.executors:
        for devices in args.devices:
            found: dict[str, Any] = measure(executor, devices, args.width)._asdict()
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    sys.exit(main())
