"""Recomputation in the backward pass: the blocks of a network keep their inputs alone, which needs less memory.

A block is a module whose class says `recomputed = True`, such as an inception block of S3D or a bottleneck of a ResNet:
what lies between two of them is small, or read by a later layer anyway. Blocks inside of a block are parts of it.

`jax.checkpoint` does not do: XLA's CPU backend drops its barriers before it decides on the order, and computes all
blocks again before the first of them is needed.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn
from flax.core import lift

Tree = Any


def recomputed_blocks() -> contextlib.AbstractContextManager[None]:
    """Returns the context in which a model is applied so that its blocks are computed again in the backward pass.

    Values and gradients stay the same; a step takes up to a third more operations.
    """
    within = False

    def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        nonlocal within
        block = getattr(context.module, "recomputed", False) and context.method_name == "__call__"
        if within or not block or context.module.is_initializing():
            return call(*args, **kwargs)
        x, *options = args
        within = True
        try:
            block = nn.transforms.lift_transform(_recomputed, lambda module, x: module(x, *options, **kwargs))
            return block(context.module, x)
        finally:
            within = False

    return nn.intercept_methods(intercept)


def _recomputed(function: Callable[..., Tree]) -> Callable[..., Tree]:
    """Lifts `recomputed` to a function of a module's scope and an array."""

    def inner(scope_of: Callable, variables_of: Callable, variables: Tree, rngs: Tree, x: jax.Array) -> Tree:
        def pure(variables: Tree, x: jax.Array) -> Tree:
            scope = scope_of(variables, rngs)
            return function(scope, x), variables_of(scope)

        # Traced once: a second time, the module would draw other dropout masks.
        traced, constants = jax.closure_convert(pure, variables, x)
        return recomputed(lambda given, x: traced(given[0], x, *given[1]))((variables, constants), x)

    return lift.pack(inner, (True,), (True,), (True,), name="recomputed")


def recomputed(function: Callable[[Tree, jax.Array], Tree]) -> Callable[[Tree, jax.Array], Tree]:
    """Returns the same function of two arguments, which keeps nothing but them for the backward pass."""

    @jax.custom_vjp
    def run(variables: Tree, x: jax.Array) -> Tree:
        return function(variables, x)

    def forward(variables: Tree, x: jax.Array) -> tuple[Tree, tuple[Tree, jax.Array]]:
        return function(variables, x), (variables, x)

    def backward(kept: tuple[Tree, jax.Array], gradient: Tree) -> tuple[Tree, jax.Array]:
        variables, x = kept
        x, gradient = jax.lax.optimization_barrier((x, gradient))
        if jax.default_backend() == "cpu":
            # Nothing may begin before the gradient is there; XLA cannot know that this adds zero.
            x = x + 0 * jax.tree.leaves(gradient)[0].ravel()[0].astype(x.dtype)
        return jax.vjp(function, variables, x)[1](gradient)

    run.defvjp(forward, backward)
    return run
