"""A model whose parameters are one vector."""

from collections.abc import Callable
from typing import Any

import drawn
import jax
import jax.flatten_util
from flax import linen as nn

from avsd_jax.runs.components import Components
from avsd_jax.training.state import TrainState, create_state
from avsd_jax.training.step import make_train_step


class OneVector(nn.Module):
    """A model whose parameters are one vector: a step of it compiles in a third of the time."""

    inner: nn.Module
    unravel: Callable[[jax.Array], dict]

    def apply(self, variables: dict, *args, **kwargs):
        return self.inner.apply(variables | {"params": self.unravel(variables["params"])}, *args, **kwargs)


def one_vector_step(
    parts: Components, variables: dict, compiled: Callable[[Callable], Callable] = drawn.step_jit
) -> tuple[TrainState, Callable[..., Any], Callable[..., dict]]:
    """The state before a training step, the step, and what gives the parameters of a vector."""
    vector, unravel = jax.flatten_util.ravel_pytree(variables["params"])
    state = create_state(variables | {"params": vector}, parts.optimizer, keep_ema=False)
    step = make_train_step(OneVector(parts.model, unravel), parts.optimizer, parts.terms)
    return state, compiled(step), unravel
