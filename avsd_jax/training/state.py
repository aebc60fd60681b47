"""The training state, and its conversion to and from checkpoint items."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, Num

from avsd_jax.common.leaves import joined

# Terms of a sum that is formed first, and sums beside each other, where an array's size allows.
_BLOCK, _LANES = 32, 256


@struct.dataclass
class TrainState:
    """Everything that a step reads and writes.

    Attributes:
        step: number of updates done, int32.
        params: the model's parameters, float32.
        batch_stats: running means and variances of the batch norms.
        opt_state: the optimiser's state.
        ema_params: running average of `params`, or None if none is kept.
    """

    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any
    ema_params: Any = None

    @property
    def variables(self) -> dict[str, Any]:
        """Returns the variables that `model.apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def eval_variables(self) -> dict[str, Any]:
        """Returns the variables for evaluation, with the averaged parameters if they are kept."""
        params = self.params if self.ema_params is None else self.ema_params
        return {"params": params, "batch_stats": self.batch_stats}


def create_state(variables: Mapping[str, Any], optimizer: optax.GradientTransformation, keep_ema: bool) -> TrainState:
    """Builds the state before the first step."""
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
        ema_params=params if keep_ema else None,
    )


def to_items(state: TrainState) -> dict[str, Any]:
    """Returns the state as checkpoint items (see `avsd_jax.runs.checkpoint`)."""
    items = {"variables": state.variables, "training": {"step": state.step, "opt_state": state.opt_state}}
    return items if state.ema_params is None else items | {"ema": {"params": state.ema_params}}


def from_items(items: Mapping[str, Any]) -> TrainState:
    """Builds a state from checkpoint items: inverse of `to_items`."""
    return TrainState(
        step=items["training"]["step"],
        opt_state=items["training"]["opt_state"],
        ema_params=items["ema"]["params"] if "ema" in items else None,
        **items["variables"],
    )


def norm_and_finite(tree: Any) -> tuple[Float[Array, ""], Bool[Array, ""]]:
    """Returns the L2 norm of the floating-point leaves of a tree, and whether none of them holds NaN or infinity.

    Reads each leaf once; what is found in its blocks is joined to that of the others.
    """
    leaves = joined(tree)
    if not leaves:
        return jnp.zeros(()), jnp.array(True)
    squares, faults = zip(*map(_sums_of_blocks, leaves), strict=True)
    square, fault = jnp.sum(jnp.concatenate(squares)), jnp.sum(jnp.concatenate(faults))
    # Of two sums XLA's CPU backend drops one that is never read, and computes the other in slower kernels: so each
    # result reads both, in a condition that holds anyway.
    return jnp.sqrt(jnp.where(fault >= 0, square, fault)), (fault == 0) & (square >= 0)


def _sums_of_blocks(x: Num[Array, "..."]) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Returns sums of squares, and numbers of values that are not finite, of blocks of an array."""
    x = x.astype(jnp.float32)
    block = math.gcd(x.size, _BLOCK)
    x = x.reshape(-1, block, math.gcd(x.size // block, _LANES))
    zero = jnp.zeros((), jnp.float32)
    faults = jnp.logical_not(jnp.isfinite(x)).astype(jnp.float32)
    pair = jax.lax.reduce((jnp.square(x), faults), (zero, zero), lambda a, b: (a[0] + b[0], a[1] + b[1]), (1,))
    return pair[0].ravel(), pair[1].ravel()


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Returns whether no floating-point leaf of a tree holds NaN or infinity."""
    leaves = [jnp.isfinite(x).all() for x in joined(tree)]
    return jnp.stack(leaves).all() if leaves else jnp.array(True)


def all_finite_on_host(tree: Any) -> bool:
    """Returns what `all_finite` does of NumPy arrays, for which JAX would compile a program for every shape."""
    leaves = jax.tree.leaves(tree)
    return all(bool(np.isfinite(x).all()) for x in leaves if jnp.issubdtype(x.dtype, jnp.inexact))
