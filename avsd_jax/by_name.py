"""Choice of a model, fusion, classifier, sampler or dataset by its module's name."""

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

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
    known = available(package)
    if name not in known:
        raise InputError(f"unknown {kind} {name!r}: choose one of {', '.join(known)}")
    return importlib.import_module(f"{package}.{name}")


def build(package: str, name: str, kind: str, class_name: str, options: Mapping[str, Any]) -> Any:
    """`package.name.<class_name>(**options)`, a linen module.

    Raises:
        InputError: there is no such module, or it has no such option; the message lists those there are.
    """
    cls = getattr(load_module(package, name, kind), class_name)
    known = set(cls.__dataclass_fields__)
    unknown = sorted(set(options) - known)
    if unknown:
        choices = ", ".join(sorted(known - {"parent", "name"})) or "none"
        raise InputError(f"{kind} {name!r} has no option {unknown[0]!r}: choose among {choices}")
    return cls(**options)


def with_options(module: ModuleType, options: Mapping[str, Any], kind: str) -> ModuleType | SimpleNamespace:
    """The module with options filled in, which are keyword-only parameters of its functions.

    Args:
        module: what `load_module` returned.
        options: name -> value; every function that has a parameter of that name takes it.
        kind: what the module is, for the error message.

    Returns:
        The module's public attributes; `__name__` tells one set of options from another.

    Raises:
        InputError: no function has such an option; the message lists those there are.
    """
    if not options:
        return module
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    own = {n: f for n, f in public.items() if inspect.isfunction(f) and f.__module__ == module.__name__}
    takes = {
        name: {p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}
        for name, function in own.items()
    }
    known = sorted(set().union(*takes.values()))
    unknown = sorted(set(options) - set(known))
    if unknown:
        short = module.__name__.rpartition(".")[2]
        raise InputError(f"{kind} {short!r} has no option {unknown[0]!r}: choose among {', '.join(known) or 'none'}")
    for name, function in own.items():
        public[name] = functools.partial(function, **{k: v for k, v in options.items() if k in takes[name]})
    given = ", ".join(f"{key}={options[key]!r}" for key in sorted(options))
    return SimpleNamespace(**public, __name__=f"{module.__name__}({given})")
