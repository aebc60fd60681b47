"""The compiled training step, shared by all runs that need the same program."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from avsd_jax.training.hyperparameters import Hyperparameters
from avsd_jax.training.state import TrainState
from avsd_jax.training.step import make_train_step


class Program(NamedTuple):
    """A compiled step.

    Attributes:
        run: `(state, batch, hyperparameters) -> (state, metrics)`, see `make_train_step`; deletes its state argument.
            Its results stay on the devices.
        costs: as far as XLA counts them, `flops_per_step`, floating-point operations on all devices together, and
            `step_memory_bytes`, what the step needs on each device: state, batch, results and scratch.
    """

    run: Callable[[TrainState, Mapping[str, Any], Hyperparameters], tuple[TrainState, dict[str, Any]]]
    costs: dict[str, float]


def compiled_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    terms: tuple[str, ...],
    executor: Any,
    compute_dtype: str,
    remat: bool,
    arguments: tuple[TrainState, Mapping[str, Any], Hyperparameters],
) -> Program:
    """Compiles a training step, or returns it from the cache of this process's latest ones.

    Args:
        model, optimizer, terms, executor, compute_dtype, remat: they determine the program, see `make_train_step`;
            compared by `==`.
        arguments: of the first step, placed on the devices; only shapes, dtypes and shardings are read.
    """
    leaves, structure = jax.tree.flatten(arguments)
    shapes = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=getattr(x, "sharding", None)) for x in leaves)
    return _compiled(model, optimizer, terms, executor, compute_dtype, remat, structure, shapes)


@functools.lru_cache(maxsize=4)  # the program of a large network takes much memory
def _compiled(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    terms: tuple[str, ...],
    executor: Any,
    compute_dtype: str,
    remat: bool,
    structure: Any,
    shapes: tuple[jax.ShapeDtypeStruct, ...],
) -> Program:
    step = make_train_step(
        model,
        optimizer,
        terms,
        axis_name=executor.axis_name,
        compute_dtype=jnp.dtype(compute_dtype),
        remat=remat,
    )
    compiled = executor.jit(step).lower(*jax.tree.unflatten(structure, shapes)).compile()
    counted, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    costs = {"flops_per_step": counted["flops"] * executor.num_devices} if "flops" in counted else {}
    if memory is not None:
        parts = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
        costs["step_memory_bytes"] = sum(getattr(memory, part) for part in parts) - memory.alias_size_in_bytes
    return Program(compiled, costs)
