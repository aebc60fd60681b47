"""Forward pass of the networks.

Random weights and inputs at the published size. Ours is `model.apply` as one compiled program, with the lowerings of
the convolutions that there are; "auto" is the default. Peers are plain PyTorch networks of the same layers
(`benchmarks/peers`). Memory is that of weights, inputs, results and scratch: by XLA's account, and by the largest sum
of living tensors in PyTorch, whose kernels' own scratch is not counted on a CPU.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import bare  # noqa: F401 (before the models)

from avsd_jax import models  # isort: skip
from benchmarks.measure import Row, Run, Setting, compare, compiled, optional  # isort: skip


class Case(NamedTuple):
    """A network to measure.

    Attributes:
        model: its module in `avsd_jax.models`.
        title: as printed.
        options: of the model.
        shapes: of the batch's entries without the axis of clips.
    """

    model: str
    title: str
    options: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]


def cases() -> list[Case]:
    """Returns the networks at their published sizes."""
    return [Case("vinet", "ViNet, 32 frames of 224x384", {}, {"video": (32, 224, 384, 3)})]


def batch_of(shapes: Mapping[str, tuple[int, ...]], clips: int, seed: int) -> dict[str, np.ndarray]:
    """Draws a batch of so many clips."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((clips, *shape)).astype(np.float32) for name, shape in shapes.items()}


def variables_of(model: Any, batch: Mapping[str, np.ndarray], seed: int) -> Any:
    """Draws variables of a model: small positive numbers, for which no activation vanishes."""
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    shapes = jax.eval_shape(model.init, rngs, batch)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.uniform(0.01, 0.1, x.shape).astype(x.dtype), shapes)


def our_run(case: Case, batch: Mapping[str, np.ndarray], seed: int, dtype: Any = np.float32, **options: Any) -> Run:
    """Compiles a network for a batch and returns its run."""
    model = models.create(case.model, **{**case.options, **options})
    cast = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, dtype), tree)  # noqa: E731
    given = jax.device_put((cast(variables_of(model, batch, seed)), cast(dict(batch))))
    program = compiled(lambda variables, batch: model.apply(variables, batch)["saliency"], *given)
    return Run(lambda: program.call(*given), units=len(next(iter(batch.values()))), values=program.values)


def rows(setting: Setting) -> Iterator[Row]:
    """Yields the rows of each network."""
    for case in cases():
        yield from _rows(case, setting)


def _rows(case: Case, setting: Setting) -> Iterator[Row]:
    clips = 8 if setting.device == "gpu" else 1
    batch = batch_of(case.shapes, clips, setting.seed)
    runs = {f"ours, {lowering}": our_run(case, batch, setting.seed, lowering=lowering) for lowering in ("auto",)}
    not_run = {}
    if optional("torch"):
        runs |= _peers(batch, setting)
    else:
        not_run["PyTorch, eager"] = "needs torch"
    yield from compare(setting, case.title, runs, unit="clip", against="PyTorch, eager", not_run=not_run)


def _peers(batch: Mapping[str, np.ndarray], setting: Setting) -> dict[str, Run]:
    from benchmarks.peers import modes, vinet

    arrays = [batch["video"].transpose(0, 4, 1, 2, 3)]
    build: Callable = lambda: vinet.ViNet(32)  # noqa: E731
    return {mode.name: modes.forward_run(build, arrays, setting.device, mode) for mode in modes.ON_CPU[:2]}
