"""Leaves of a tree of arrays in fewer arrays, so that hundreds of small parameters take XLA few kernels to reduce."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Num

# Elements up to which an array is joined to others before it is reduced; copying so many costs nothing.
_SMALL = 2**17


def joined(tree: Any) -> list[Num[Array, "..."]]:
    """Returns the floating-point leaves of a tree in fewer arrays: small ones of a type are one vector.

    XLA compiles a kernel for every reduction, which takes it longer than all else if a network has hundreds of biases
    and scales. The barrier keeps what computes the leaves out of the kernel that joins them.
    """
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    small: dict[Any, list[Array]] = {}
    for x in leaves:
        if x.size <= _SMALL:
            small.setdefault(x.dtype, []).append(x)
    vectors = [jnp.concatenate([x.ravel() for x in xs]) if len(xs) > 1 else xs[0] for xs in small.values()]
    return [*jax.lax.optimization_barrier(vectors), *(x for x in leaves if x.size > _SMALL)]
