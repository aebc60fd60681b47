"""The description of a published checkpoint's layout, and helpers for it."""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

Shapes = Mapping[str, tuple[int, ...]]
Path = tuple[str, ...]
Renames = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]


def zeros(*shape: int) -> jax.ShapeDtypeStruct:
    """Returns the shape of a float32 array."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def variables(model: Any, *inputs: Any, method: str | None = None) -> dict[str, Any]:
    """Returns the shapes of the variables that a model, or one method of it, has."""
    leaves, tree = jax.tree.flatten(inputs)
    return jax.tree.map(lambda shape: shape, _traced(model, method, tree, tuple(leaves)))


@functools.lru_cache(maxsize=16)  # of a file the network is found first, and then read: that takes seconds
def _traced(model: Any, method: str | None, tree: Any, leaves: tuple[jax.ShapeDtypeStruct, ...]) -> dict[str, Any]:
    init = functools.partial(model.init, method=method)
    return jax.eval_shape(init, jax.random.key(0), *jax.tree.unflatten(tree, leaves))


@dataclasses.dataclass(frozen=True)
class Layout:
    """The differences of a published checkpoint from our variables.

    Attributes:
        variables: (options, shapes of the checkpoint) -> shapes of our variables.
        options: shapes of the checkpoint -> options of the model.
        rename: regular expressions and their replacements, applied in turn to our keys.
        unused: regular expression of keys that the official code never reads.
        transposed: regular expression of keys of transposed convolutions.
        swapped: keys of arrays over two classes in the opposite order.
        classifier: of `avsd_jax.models.classifiers`, whose variables they are; "": a model's, of the layout's name.
        order: of the axes of kernels: "torch", or "tensorflow" and Keras, (..., in, out) as ours, and (..., out, in) of
            transposed convolutions.
        layers: of Keras's files, in the order of the network, as not all of them have their names there.
        twins: regular expression of keys, and the replacement that gives the key of the same values: an array that a
            checkpoint holds under two names.
        added: regular expression of keys that other files may have, see `avsd_jax.torch_weights.conversion.convert`.
        constants: paths of our variables that no checkpoint has ("params/score/scale"), and their values.
    """

    variables: Callable[[Mapping[str, Any], Shapes], dict[str, Any]]
    options: Callable[[Shapes], dict[str, Any]] = lambda shapes: {}
    rename: Renames = ()
    unused: str = r"$^"
    transposed: str = r"$^"
    swapped: tuple[str, ...] = ()
    classifier: str = ""
    order: str = "torch"
    layers: tuple[str, ...] = ()
    twins: tuple[str, str] = (r"$^", "")
    added: str = r"$^"
    constants: tuple[tuple[str, float], ...] = ()


def checkpoint_key(path: Path, layout: Layout) -> str:
    """Returns the checkpoint's key of a variable: params/base1_0/conv_s/kernel is base1.0.conv_s.weight."""
    *modules, leaf = path[1:]
    leaf = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}.get(leaf, leaf)
    key = ".".join([*(re.sub(r"_(\d+)$", r".\1", module) for module in modules), leaf])
    for pattern, replacement in layout.rename:
        key = re.sub(pattern, replacement, key)
    return key
