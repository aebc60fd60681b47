"""Layouts of published checkpoints, a module for each family of models.

A module has `LAYOUTS`, {name: Layout}; and if files of one name exist in several layouts, `BY_KEY`, {name: {a key
that only this layout has: Layout}}, which is tried first. A new family adds a module.
"""

import importlib
from collections.abc import Collection

from avsd_jax.common.by_name import available
from avsd_jax.errors import InputError
from avsd_jax.torch_weights.layout import Layout, Shapes, checkpoint_key

_MODULES = [importlib.import_module(f"{__name__}.{module}") for module in available(__name__)]
_LAYOUTS: dict[str, Layout] = {name: layout for module in _MODULES for name, layout in module.LAYOUTS.items()}
_BY_KEY = {name: layouts for module in _MODULES for name, layouts in getattr(module, "BY_KEY", {}).items()}

__all__ = ["NAMES", "Layout", "Shapes", "candidates", "checkpoint_key", "classifier_of", "find"]

NAMES = tuple(sorted({*_LAYOUTS, *_BY_KEY}))


def find(name: str, shapes: Shapes) -> Layout:
    """Finds the layout of a checkpoint.

    Args:
        name: one of `NAMES`.
        shapes: the checkpoint's keys and shapes.

    Raises:
        InputError: unknown name, or no key identifies one of several layouts.
    """
    if name not in NAMES:
        raise InputError(f"no published layout is known of {name!r}: choose one of {', '.join(NAMES)}")
    for key, layout in _BY_KEY.get(name, {}).items():
        if key in shapes:
            return layout
    if name not in _LAYOUTS:
        raise InputError(f"the checkpoint has none of {', '.join(_BY_KEY[name])}: give a checkpoint of {name}")
    return _LAYOUTS[name]


def classifier_of(name: str) -> str:
    """Returns the classifier that a checkpoint of this name is of; "" where it is of a model."""
    return _LAYOUTS[name].classifier if name in _LAYOUTS else ""


def candidates(name: str, keys: Collection[str]) -> list[Layout]:
    """Returns the possible layouts of a checkpoint, whose keys may have any prefix.

    Args:
        name: one of `NAMES`.
        keys: the checkpoint's keys.

    Raises:
        InputError: unknown name.
    """
    if name not in NAMES:
        return [find(name, {})]
    by_key = _BY_KEY.get(name, {})
    matching = [layout for key, layout in by_key.items() if any(f".{k}".endswith(f".{key}") for k in keys)]
    return matching or ([_LAYOUTS[name]] if name in _LAYOUTS else list(by_key.values()))
