"""Selection of a model, fusion, classifier, sampler or dataset by its module's name, and validation of its options."""

import functools
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

from avsd_jax.common.value_kinds import Kind, listed, of_annotation, real, whole
from avsd_jax.errors import InputError

# Set by flax, not by configurations.
_FLAX_FIELDS = {"parent", "name"}

# Options mean the same everywhere; those that are not listed here are only checked against their annotations.
RANGES: dict[str, Kind] = {
    "audio_seconds": real(above=0, most=600),
    "channels": whole(1),
    "clip_size": whole(1, 4096),
    "depths": listed(whole(1, 1000), "list of blocks by stage: give numbers of 1 or more, as in (3,4,23,3)", least=1),
    "features": whole(0, 2**20),
    "frame_size": whole(1, 8192),
    "hidden": whole(1, 2**20),
    "nfft": whole(1, 2**20),
    "noverlap": whole(0),
    "norm_momentum": real(0, 1),
    "nperseg": whole(1, 2**20),
    "num_classes": whole(1, 2**20),
    "num_heads": whole(1),
    "num_layers": whole(0, 1000),
    "num_skips": whole(0),
    "num_tags": whole(0, 2**20),
    "sample_rate": whole(1, 2**20),
    "stride": whole(1, 64),
    "width": real(above=0, most=64),
}


def available(package: str) -> list[str]:
    """Returns the names of the modules in `package` that a configuration may select.

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
        InputError: there is no such module; the message lists the existing ones.
    """
    known = available(package)
    if name not in known:
        raise InputError(f"unknown {kind} {name!r}: choose one of {', '.join(known)}")
    return importlib.import_module(f"{package}.{name}")


def build(package: str, name: str, kind: str, class_name: str, options: Mapping[str, Any]) -> Any:
    """Builds `package.name.<class_name>(**options)`, a linen module.

    Raises:
        InputError: there is no such module or option, and the message lists the existing ones; or the value of an
            option has the wrong type or range.
    """
    cls = getattr(load_module(package, name, kind), class_name)
    known = set(cls.__dataclass_fields__)
    unknown = sorted(set(options) - known)
    if unknown:
        choices = ", ".join(sorted(known - _FLAX_FIELDS)) or "none"
        raise InputError(f"{_path(kind)}: {kind} {name!r} has no option {unknown[0]!r}: choose among {choices}")
    hints = _hints(cls)
    for option, value in options.items():
        if option not in _FLAX_FIELDS:
            _check_option(kind, option, value, hints.get(option, Any))
    return cls(**options)


@functools.cache
def _hints(annotated: Any) -> dict[str, Any]:
    """Returns the annotations of a class or function; none if they cannot be resolved."""
    try:
        return typing.get_type_hints(annotated)
    except (NameError, TypeError):
        return {}


def _path(kind: str) -> str:
    """Returns the section of a configuration that holds the options of a kind of module."""
    return kind if kind == "model" else f"{kind}_options"


def _check_option(kind: str, option: str, value: Any, hint: Any) -> None:
    """Raises InputError unless an option agrees with its annotation and `RANGES`."""
    path = f"{_path(kind)}.{option}"
    of_annotation(hint).check(path, value)
    if option in RANGES:
        RANGES[option].check(path, value)


def with_options(module: ModuleType, options: Mapping[str, Any], kind: str) -> ModuleType | SimpleNamespace:
    """The module with options filled in, which are keyword-only parameters of its functions.

    Args:
        module: what `load_module` returned.
        options: name -> value; every function that has a parameter of that name takes it.
        kind: what the module is, for the error message.

    Returns:
        The module's public attributes; `__name__` tells one set of options from another.

    Raises:
        InputError: no function has such an option, and the message lists those there are; or it has a value of another
            type or range.
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
        choices = ", ".join(known) or "none"
        raise InputError(f"{_path(kind)}: {kind} {short!r} has no option {unknown[0]!r}: choose among {choices}")
    for name, function in own.items():
        public[name] = functools.partial(function, **{k: v for k, v in options.items() if k in takes[name]})
    hints = {option: hint for function in own.values() for option, hint in _hints(function).items()}
    for option, value in options.items():
        _check_option(kind, option, value, hints.get(option, Any))
    given = ", ".join(f"{key}={options[key]!r}" for key in sorted(options))
    return SimpleNamespace(**public, __name__=f"{module.__name__}({given})")
