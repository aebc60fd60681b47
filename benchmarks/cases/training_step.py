"""Training step.

Forward and backward pass of a batch and Adam's update: ours is the program that the training loop runs
(`avsd_jax.training.program`), with ViNet's and STAViS's own losses; the peer is PyTorch with the same batch and losses
and `torch.optim.Adam`. In bfloat16 parameters are float32 in both, PyTorch's by autocast. Memory is that of parameters,
optimiser, batch and scratch, counted as for the forward pass. On a CPU under Linux, ours has the huge pages that
`avsd_jax.main` asks for; PyTorch asks for none, and has a row of its own with them. Half of the time of STAViS's step
on two cores are passes over memory, for norms, layouts and padding; its products alone would take 0.13 s a clip at
0.45 TFLOP/s, the rate of a product of two matrices.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import optax

from avsd_jax.common.parallel import make_executor, make_mesh
from avsd_jax.training.hyperparameters import Hyperparameters
from avsd_jax.training.program import compiled_step
from avsd_jax.training.state import create_state
from benchmarks.measure import (
    Row,
    Run,
    Setting,
    compare,
    memory_of,
    no_compilation_cache,
    optional,
    timed,
    with_huge_pages,
)
from benchmarks.networks import NETWORKS, Network, variables

# The terms of each network's loss and their weights.
LOSSES = {"vinet": {"kl": 1.0}, "stavis": {"stavis_bce": 0.1, "stavis_cc": 2.0, "stavis_nss": 1.0}}
# Clips of a batch.
CLIPS = {"vinet": {"cpu": 1, "gpu": 4}, "stavis": {"cpu": 2, "gpu": 32}}
# Networks that --quick measures: compiling a step takes a minute.
QUICK_NETWORKS = {"cpu": ("stavis",), "gpu": ("vinet",)}


def rows(setting: Setting) -> Iterator[Row]:
    """Yields the rows of each network."""
    for network in NETWORKS:
        if network.name in LOSSES:
            if setting.quick and network.name not in QUICK_NETWORKS[setting.device]:
                yield Row(network.title, "ours", not_run="left out by --quick")
            else:
                yield from _of(network, setting)


def batch_of(network: Network, setting: Setting) -> dict[str, np.ndarray]:
    """Draws a batch with targets: density and fixations."""
    batch = network.batch(CLIPS[network.name][setting.device], setting.seed)
    clips, _, height, width, _ = batch["video"].shape
    rng = np.random.default_rng(setting.seed)
    density = rng.uniform(size=(clips, height, width)).astype(np.float32)
    fixations = (rng.uniform(size=density.shape) < 0.01).astype(np.float32)
    return batch | {"density": density, "fixations": fixations}


def our_run(
    network: Network,
    batch: Mapping[str, np.ndarray],
    headline: str,
    against: str,
    dtype: str = "float32",
    remat: bool = False,
) -> Run:
    """Compiles the training step of a network and returns its run."""
    weights, model, optimizer = LOSSES[network.name], network.model(), optax.adam(1e-4)
    executor = make_executor("jit", make_mesh(jax.devices()[:1]))
    zero = np.float32(0)
    scalars = Hyperparameters(np.uint32(0), zero, zero, zero, jax.tree.map(np.float32, weights), np.float32(1))
    state = executor.place_state(create_state(variables(model, batch), optimizer, False))
    placed = executor.place_batch(batch)
    with no_compilation_cache():
        seconds, program = timed(
            lambda: compiled_step(model, optimizer, tuple(weights), executor, dtype, remat, (state, placed, scalars))
        )
    held = [state]

    def call() -> Any:
        held[0], metrics = program.run(held[0], placed, scalars)
        return metrics["loss"]

    values = {"compile s": seconds, "memory MB": memory_of(program.run)}
    clips = len(batch["video"])
    return Run(call, jax.block_until_ready, clips, values, headline, 3 * network.gflop, against, huge_pages=True)


def _of(network: Network, setting: Setting) -> Iterator[Row]:
    batch = batch_of(network, setting)
    headline, gpu = f"{network.name}: training step", setting.device == "gpu"
    peer = f"PyTorch eager{', TF32' if gpu else ''}"
    runs = {}
    if not (gpu and setting.quick):
        runs["ours"] = our_run(network, batch, headline, peer)
    if network.name == "vinet" and gpu and not setting.quick:
        runs["ours, remat"] = our_run(network, batch, f"{headline}, remat", peer, remat=True)
    if gpu:
        peer = "PyTorch eager, channels last, bfloat16"
        runs["ours, bfloat16"] = our_run(network, batch, f"{headline}, bfloat16", peer, "bfloat16")
    not_run = {}
    if optional("torch"):
        found, not_run = _peers(network, batch, setting)
        runs |= found
        runs |= with_huge_pages(runs, "PyTorch eager")
    else:
        not_run["PyTorch eager"] = "needs torch"
    clips = len(batch["video"])
    title = network.title if clips == 1 else f"{network.title}, {clips} clips"
    runs = {name: dataclasses.replace(run, before=run.call) for name, run in runs.items()}
    yield from compare(setting, title, runs, unit="clip", not_run=not_run)


def _peers(
    network: Network, batch: Mapping[str, np.ndarray], setting: Setting
) -> tuple[dict[str, Run], dict[str, str]]:
    """Returns the runs of PyTorch's network, and why one of torch.compile is not run."""
    from benchmarks.peers import modes
    from benchmarks.peers.losses import Trained

    runs, not_run = {}, {}
    targets, inputs = (batch["density"], batch["fixations"]), network.peer_inputs(batch)
    for mode in modes.modes(setting.device, with_compile=not setting.quick and setting.device == "gpu"):
        if setting.device == "gpu" and mode.precision == "fp32":
            continue
        try:
            runs[mode.name] = modes.training_run(
                lambda: Trained(network.name, network.peer()), targets, inputs, setting.device, mode
            )
        except Exception as error:  # torch.compile needs a compiler, and knows not every network
            if not mode.compiled:
                raise
            not_run[mode.name] = f"{type(error).__name__} of torch.compile"
    return runs, not_run
