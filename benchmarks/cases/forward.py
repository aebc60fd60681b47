"""Forward pass.

Random weights and inputs at the published sizes. Ours is `model.apply` as one compiled program, with the options that
the commands give to the compiler (`avsd_jax/common/compiler.py`); peers are plain PyTorch networks that compute the
same (`benchmarks/peers`). Memory is that of weights, inputs, results and scratch: by XLA's account, and by the largest
sum of living tensors in PyTorch, without the scratch of its kernels on a CPU. Float32 products are those of the
device's default: on a GPU, JAX rounds their operands to TF32, so that PyTorch does, too, in the row that ours is
compared with. The product of two large matrices shows what the device can do; on AMD's processors, that of PyTorch, by
MKL, is not the limit of its convolutions, by oneDNN. Nine tenths of STANet are 1x1 convolutions, which run at 0.45
TFLOP/s in ours and 0.44 in PyTorch on two cores (one of 23x23 places, 1024 to 1024 channels): there is little to gain.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measure import Row, Run, Setting, compare, compiled, optional
from benchmarks.networks import NETWORKS, Batch, Network, variables

# Networks that --quick measures, and those that are also measured by torch.compile, which takes a minute each on a CPU.
QUICK = ("vinet", "stavis")
COMPILED = {"cpu": ("vinet",), "gpu": ("vinet", "stavis")}


def rows(setting: Setting) -> Iterator[Row]:
    """Yields the rows of each network."""
    yield from _peak(setting)
    for network in NETWORKS:
        if setting.quick and network.name not in QUICK:
            yield Row(network.title, "ours", not_run="left out by --quick")
        else:
            yield from _of(network, setting)


def _of(network: Network, setting: Setting) -> Iterator[Row]:
    batch = network.batch(network.gpu_clips if setting.device == "gpu" else 1, setting.seed)
    runs = dict(_ours(network, batch, setting))
    not_run = {}
    if optional("torch"):
        found, not_run = _peers(network, batch, setting)
        runs |= found
    else:
        not_run["PyTorch eager"] = "needs torch"
    clips = len(batch["video"])
    title = network.title if clips == 1 else f"{network.title}, {clips} clips"
    yield from compare(setting, title, runs, unit="clip", not_run=not_run)


def _ours(network: Network, batch: Batch, setting: Setting) -> Iterator[tuple[str, Run]]:
    headline = f"{network.name}: forward"
    tf32 = setting.device == "gpu"
    yield "ours", our_run(network, batch, headline, "PyTorch eager, TF32" if tf32 else "PyTorch eager")
    if network.name == "vinet" and not setting.quick:
        against = "PyTorch eager, TF32" if tf32 else "PyTorch eager"
        yield "ours, lowering=direct", our_run(network, batch, against=against, lowering="direct")
    if tf32:
        options = {"against": "PyTorch eager, bfloat16", "dtype": jnp.bfloat16}
        yield "ours, bfloat16", our_run(network, batch, f"{headline}, bfloat16", **options)
        if not setting.quick:
            exact = {"against": "PyTorch eager", "precision": "highest"}
            yield "ours, precision=highest", our_run(network, batch, f"{headline}, precision=highest", **exact)


def our_run(
    network: Network,
    batch: Batch,
    headline: str = "",
    against: str = "PyTorch eager",
    dtype: Any = np.float32,
    **options: Any,
) -> Run:
    """Compiles a network for a batch and returns its run; `options` are those of the model."""
    model = network.model(**{name: value for name, value in options.items() if name != "precision"})
    model = model.clone(precision=options["precision"]) if "precision" in options else model
    trees = variables(model, batch), dict(batch)
    given = jax.device_put(jax.tree.map(lambda x: jnp.asarray(x, dtype), trees))
    program = compiled(lambda variables, batch: model.apply(variables, batch)["saliency"], *given)
    return Run(
        lambda: program.call(*given),
        units=len(batch["video"]),
        values=program.values,
        headline=headline,
        gflop=network.gflop,
        against=against,
    )


def _peers(network: Network, batch: Batch, setting: Setting) -> tuple[dict[str, Run], dict[str, str]]:
    """Returns the runs of PyTorch's network, and why one of torch.compile is not run."""
    from benchmarks.peers import modes

    runs, not_run = {}, {}
    with_compile = network.name in COMPILED[setting.device] and not setting.quick
    for mode in modes.modes(setting.device, with_compile):
        try:
            runs[mode.name] = modes.forward_run(network.peer, network.peer_inputs(batch), setting.device, mode)
        except Exception as error:  # torch.compile needs a compiler, and knows not every network
            if not mode.compiled:
                raise
            not_run[mode.name] = f"{type(error).__name__} of torch.compile"
    return runs, not_run


def _peak(setting: Setting) -> Iterator[Row]:
    """Yields the rate of a product of two matrices in each format."""
    if not optional("torch"):
        return
    import torch

    from benchmarks.peers import modes

    size, runs = (8192 if setting.device == "gpu" else 2048), {}
    for precision in modes.PRECISIONS[setting.device]:
        mode = modes.Mode(precision=precision)
        a, b = (modes.placed(torch.randn(size, size), setting.device, mode) for _ in range(2))

        def call(a: Any = a, b: Any = b, mode: Any = mode) -> Any:
            with modes.products(mode):
                return a @ b

        runs[f"PyTorch, {modes.FORMATS[precision]}"] = Run(call, modes.wait, gflop=2e-9 * size**3)
    if setting.device == "cpu":
        pair = [np.random.default_rng(seed).standard_normal((size, size), np.float32) for seed in range(2)]
        given = jax.device_put(pair)
        program = compiled(jnp.matmul, *given)
        runs["ours, float32"] = Run(lambda: program.call(*given), gflop=2e-9 * size**3)
    yield from compare(setting, f"product of two matrices of {size}x{size}", runs, unit="product")
