"""Modules that an extra of the package installs: imported where they are used, and named where they are missing."""

import importlib
from types import ModuleType

from avsd_jax.errors import InputError


def need(module: str, extra: str) -> ModuleType:
    """Imports a module that an extra of the package installs.

    Args:
        module: its dotted name.
        extra: the extra that brings it, a name of `[project.optional-dependencies]` in pyproject.toml.

    Raises:
        InputError: it, or a module that it imports, is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f'{error.name or module} is not installed: pip install "avsd-jax[{extra}]"') from error
