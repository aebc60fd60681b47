"""Data parallelism: one mesh axis, the batch split along it, everything else replicated.

`executor="jit"` lets the compiler split one global step over the mesh and is the default; `executor="pmap"` runs the
same step on each device with explicit sums over the axis. Both give the one-device result.
"""

import functools
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax import jax_utils
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from avsd_jax.common.compiler import compiler_options
from avsd_jax.errors import InputError

AXIS = "data"
Step = Callable[[Any, Mapping[str, Any], Any], tuple[Any, Any]]


def make_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """Builds a one-axis mesh over all devices of all processes (or over those given).

    The axis is Auto: the compiler places every intermediate; Explicit axes refuse a gather over the batch.
    """
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Raises InputError unless the global batch splits evenly over the mesh."""
    if batch_size % mesh.size:
        raise InputError(
            f"batch_size={batch_size} does not split over {mesh.size} devices: choose a multiple of {mesh.size}"
        )


class JitExecutor:
    """Runs `step(state, batch, hyperparameters) -> (state, metrics)` as one program over the mesh."""

    axis_name: str | None = None

    def __init__(self, mesh: Mesh):
        self.num_devices = mesh.size
        self._replicated = NamedSharding(mesh, PartitionSpec())
        self._split = NamedSharding(mesh, PartitionSpec(AXIS))

    def place_state(self, state: Any) -> Any:
        """Copies the state to every device; the copy may be donated, `state` stays usable."""
        # device_put may alias its input, and a donated alias would delete the caller's arrays.
        return jax.tree.map(lambda x: jax.device_put(np.array(x), self._replicated), state)

    def place_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Combines the parts of the processes, `[B / processes, ...]`, to global arrays `[B, ...]`."""
        return {k: jax.make_array_from_process_local_data(self._split, v) for k, v in batch.items()}

    def jit(self, step: Step) -> Any:
        """Wraps a step for compilation, by its method `lower`; its state argument is donated."""
        placement = (self._replicated, self._replicated)
        return jax.jit(step, donate_argnums=0, out_shardings=placement, compiler_options=compiler_options())

    def fetch_metrics(self, metrics: Any) -> Any:
        """Returns the metrics of one step or several in host memory; waits for the step."""
        return jax.device_get(metrics)

    def fetch_state(self, state: Any) -> Any:
        """Returns one copy of the state, without the executor's device axis."""
        return state


class PmapExecutor:
    """Runs the step on each device; its code sums over the named axis."""

    axis_name: str | None = AXIS

    def __init__(self, mesh: Mesh):
        self.num_devices = mesh.size
        self._all = list(mesh.devices.flat)  # the sums go over those of every process
        self._devices = [d for d in self._all if d.process_index == jax.process_index()]

    def place_state(self, state: Any) -> Any:
        """Copies the state to every local device, with a leading device axis."""
        return jax_utils.replicate(state, self._devices)

    def place_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Splits the part of this process over its devices: `[b, ...]` to `[devices, b / devices, ...]`."""
        n = len(self._devices)
        return {k: v.reshape(n, -1, *v.shape[1:]) for k, v in batch.items()}

    def jit(self, step: Step) -> Any:
        """Wraps a step for compilation, by its method `lower`; every device gets the same hyperparameters."""
        return jax.pmap(step, axis_name=AXIS, in_axes=(0, 0, None), donate_argnums=0, devices=self._all)

    def fetch_metrics(self, metrics: Any) -> Any:
        """Returns the metrics of one step or several in host memory; waits for the step. Every device has the same."""
        return _first(metrics)

    def fetch_state(self, state: Any) -> Any:
        """Returns one copy of the state, without the executor's device axis, in host memory.

        One process's devices hold it: as device arrays, orbax takes it for one process's part and refuses to save it.
        """
        return _first(state)


def _first(tree: Any) -> Any:
    """Returns the first local device's part of a tree with a leading device axis, without that axis, in host memory.

    `flax.jax_utils.unreplicate` keeps the axis if one device of several is used.
    """
    return jax.tree.map(lambda x: np.asarray(x.addressable_shards[0].data).reshape(x.shape[1:]), tree)


def gather(value: Any) -> list[Any]:
    """Returns what each process of the job gave, in their order; a collective operation. Any value that pickles."""
    if jax.process_count() == 1:
        return [value]
    data = np.frombuffer(pickle.dumps(value), np.uint8)
    sizes = multihost_utils.process_allgather(np.array(len(data)))
    padded = np.pad(data, (0, int(sizes.max()) - len(data)))
    rows = multihost_utils.process_allgather(padded)
    return [pickle.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]


EXECUTORS = {"jit": JitExecutor, "pmap": PmapExecutor}


@functools.lru_cache(maxsize=8)
def make_executor(name: str, mesh: Mesh) -> JitExecutor | PmapExecutor:
    """Returns the executor that a configuration names, the same one for the same devices.

    Raises:
        InputError: the name is neither `jit` nor `pmap`.
    """
    if name not in EXECUTORS:
        raise InputError(f"unknown executor {name!r}: choose one of {', '.join(EXECUTORS)}")
    return EXECUTORS[name](mesh)


def sum_over_devices(tree: Any, axis_name: str | None) -> Any:
    """Sums over the axis of a mapped step; under jit the arrays are already global."""
    return tree if axis_name is None else jax.lax.psum(tree, axis_name)
