"""Stand-ins for packages that annotations alone need, for machines that have nothing but JAX, Flax, Optax and PyTorch.

Models, losses and the training step name types of jaxtyping and ml_collections, and read neither. Import this module
before them: where such a package is missing, a module of its name takes its place, in this process.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

import jax


class _Typed:
    """`Float[Array, "b c"]` and the like, without the shape."""

    def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
        return item[0]


class _ConfigDict:
    """A type that nothing is an instance of: configurations need the real package."""


def _jaxtyping() -> dict[str, Any]:
    kinds = ("Bool", "Complex", "Float", "Int", "Num", "Shaped", "UInt", "Inexact")
    sizes = ("Float16", "Float32", "Float64", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32")
    return {"Array": jax.Array} | dict.fromkeys((*kinds, *sizes), _Typed)


_CONTENTS = {"jaxtyping": _jaxtyping, "ml_collections": lambda: {"ConfigDict": _ConfigDict}}


def install() -> list[str]:
    """Registers a stand-in for each of these packages that cannot be imported; returns their names."""
    missing = []
    for name, contents in _CONTENTS.items():
        try:
            importlib.import_module(name)
        except ImportError:
            module = ModuleType(name, "Stands in for a package that is not installed.")
            vars(module).update(contents())
            sys.modules[name] = module
            missing.append(name)
    return missing


MISSING = install()
