"""Selection of a model, fusion, classifier, sampler or dataset by its module's name, and validation of its options."""

import dataclasses
import functools
import importlib
import pkgutil
import typing
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from avsd_jax.common.value_kinds import Kind, listed, of_annotation, real, whole
from avsd_jax.errors import InputError

# Set by flax, not by configurations.
FLAX_FIELDS = {"parent", "name"}

# Options mean the same everywhere; those that are not listed here are only checked against their annotations.
RANGES: dict[str, Kind] = {
    "audio_seconds": real(above=0, most=600),
    "blur": real(0, 1),
    "channels": whole(1),
    "clip_size": whole(1, 4096),
    "dropout": real(0, 1),
    "depths": listed(whole(1, 1000), "list of blocks by stage: give numbers of 1 or more, as in (3,4,23,3)", least=1),
    "features": whole(0, 2**20),
    "frame_size": whole(1, 8192),
    "frame_rate": real(above=0, most=1000),
    "hidden": whole(1, 2**20),
    "hop": whole(1, 2**20),
    "instances": whole(0),
    "keep": real(above=0, most=1),
    "map_size": whole(1, 1024),
    "mask_samples": whole(1),
    "n_fft": whole(4, 2**20),
    "negatives": whole(1, 2**20),
    "nfft": whole(1, 2**20),
    "noverlap": whole(0),
    "norm_momentum": real(0, 1),
    "nperseg": whole(1, 2**20),
    "num_classes": whole(1, 2**20),
    "num_frames": whole(1, 4096),
    "num_heads": whole(1),
    "num_layers": whole(0, 1000),
    "num_skips": whole(0),
    "num_tags": whole(0, 2**20),
    "positives": whole(0, 2**20),
    "sample_rate": whole(1, 2**20),
    "skip_dropout": real(0, 1),
    "smoothing": real(above=0),
    "step": whole(1, 1000),
    "strength": real(0),
    "stride": whole(1, 64),
    "width": real(above=0, most=64),
    "within_negatives": whole(1, 2**20),
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
    """Builds `package.name.<class_name>(**options)`, a dataclass (as every linen module is).

    Raises:
        InputError: there is no such module or option, and the message lists the existing ones; or the value of an
            option has the wrong type or range.
    """
    cls = getattr(load_module(package, name, kind), class_name)
    known = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(options) - known)
    if unknown:
        choices = ", ".join(sorted(known - FLAX_FIELDS)) or "none"
        raise InputError(f"{_path(kind)}: {kind} {name!r} has no option {unknown[0]!r}: choose among {choices}")
    hints = _hints(cls)
    for option, value in options.items():
        if option not in FLAX_FIELDS:
            _check_option(kind, option, value, hints.get(option, Any))
    return cls(**options)


def name_of(built: Any) -> str:
    """Returns the name of the module of a result of `build`, as a configuration gives it."""
    return type(built).__module__.rpartition(".")[2]


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Returns the annotations of a class; none if they cannot be resolved."""
    try:
        return typing.get_type_hints(cls)
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
