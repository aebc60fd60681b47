"""What is said of a published checkpoint's layout, and helpers to say it."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

Shapes = Mapping[str, tuple[int, ...]]
Renames = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]


def zeros(*shape: int) -> jax.ShapeDtypeStruct:
    """A float32 array's shape."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def variables(model: Any, *inputs: Any) -> dict[str, Any]:
    """The shapes of a model's variables."""
    return jax.eval_shape(model.init, jax.random.key(0), *inputs)


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a published checkpoint differs from our variables.

    Attributes:
        variables: (options, shapes of the checkpoint) -> shapes of our variables.
        options: shapes of the checkpoint -> options of the model.
        rename: regular expressions and their replacements, applied in turn to our keys.
        unused: regular expression of keys that the official code never reads.
        transposed: regular expression of keys of transposed convolutions.
        swapped: keys of arrays over classes whose two classes have the opposite order.
    """

    variables: Callable[[Mapping[str, Any], Shapes], dict[str, Any]]
    options: Callable[[Shapes], dict[str, Any]] = lambda shapes: {}
    rename: Renames = ()
    unused: str = r"$^"
    transposed: str = r"$^"
    swapped: tuple[str, ...] = ()
