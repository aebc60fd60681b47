"""Choice of a model, fusion, classifier, sampler or dataset by its module's name."""

import importlib
import importlib.util
import pkgutil
from types import ModuleType

from avsd_jax.errors import InputError


def available(package: str) -> list[str]:
    """Names of the modules in `package` that a config may name.

    Modules whose name starts with an underscore are private to the package.
    """
    path = importlib.import_module(package).__path__
    return sorted(m.name for m in pkgutil.iter_modules(path) if not m.ispkg and not m.name.startswith("_"))


def load_module(package: str, name: str, kind: str) -> ModuleType:
    """Imports `package.name`.

    Args:
        package: dotted name of the package to look in.
        name: module name, as a config gives it.
        kind: what the module is, for the error message ("model", "fusion", ...).

    Raises:
        InputError: there is no such module; the message lists those there are.
    """
    if not name.isidentifier() or importlib.util.find_spec(f"{package}.{name}") is None:
        raise InputError(f"unknown {kind} {name!r}: choose one of {', '.join(available(package))}")
    return importlib.import_module(f"{package}.{name}")
