"""Modules that an extra of the package installs: imported where they are used, and named where they are missing."""

import importlib
import importlib.util
from types import ModuleType

from avsd_jax.errors import InputError

# Modules that commands as a whole need, by the extra that brings them.
MODULES = {"train": ("array_record", "clu", "grain", "importlib_resources", "tensorboardX", "tensorflow_datasets")}


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
        raise _missing(error.name or module, extra) from error


def check(extra: str) -> None:
    """Checks that the modules of an extra are installed, and imports none of them.

    Raises:
        InputError: one is not installed.
    """
    for module in MODULES[extra]:
        if importlib.util.find_spec(module) is None:
            raise _missing(module, extra)


def _missing(module: str, extra: str) -> InputError:
    return InputError(f'{module} is not installed: pip install "avsd-jax[{extra}]"')
