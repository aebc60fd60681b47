"""Reader of PyTorch files that executes no code in them.

It uses PyTorch's own reader for untrusted files (`weights_only=True`), which allows tensors and plain values. Training
scripts also save other harmless objects, which this module allows. All others are refused by name.
"""

import collections
import contextlib
import pathlib
import pickletools
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from avsd_jax.common import safetensors_files
from avsd_jax.common.wording import some
from avsd_jax.errors import InputError

_CHUNK = 1 << 20

# Before version 1.6, PyTorch writes three small pickles before the content.
_LEGACY_PICKLES = 4


class _Plain:
    """Placeholder for an object whose class is irrelevant to weights; holds its saved state."""

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


# Objects of these classes are data, without side effects. They are read as `_Plain`.
_HARMLESS = (
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in dir(pathlib) if name.endswith("Path")),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    "argparse.Namespace",
    "types.SimpleNamespace",
    "decimal.Decimal",
    "fractions.Fraction",
    "uuid.UUID",
    "torch.torch_version.TorchVersion",
    # Also as the factory of a defaultdict.
    *(f"builtins.{name}" for name in ("bool", "bytes", "dict", "float", "frozenset", "int", "list", "range")),
    *(f"builtins.{name}" for name in ("slice", "str", "tuple")),
)


def read(path: Path) -> Any:
    """Reads a file of `torch.save`.

    Returns:
        The content, with tensors on the CPU.

    Raises:
        InputError: PyTorch is not installed, the file is damaged, or it holds objects that only their own code can
            read.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError('reading a PyTorch checkpoint needs PyTorch: pip install "avsd-jax[convert]"') from error
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: download it again")
    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        check_sums(path)
    with _known_classes() as known:
        unknown = sorted(_classes(path, is_zip) - known)
        if unknown:
            raise InputError(f"{path} {_refusal(unknown)}")
        try:
            with warnings.catch_warnings(action="ignore"):
                return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many types for files that are not checkpoints
            raise InputError(f"{path} {_failure(error)}") from error


def check_sums(path: Path) -> None:
    """Verifies the checksums of a zip archive's members, which PyTorch does not.

    Raises:
        InputError: a member is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # PyTorch may be configured to write no checksums; all are zero then.
            if not any(member.CRC for member in archive.infolist()):
                return
            for member in archive.infolist():
                with archive.open(member) as file:
                    while file.read(_CHUNK):
                        pass
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(f"{path} cannot be read ({error.strerror}): copy it to another disk") from error
        raise InputError(f"{path} is damaged ({error}): download it again") from error


def as_array(key: str, tensor: Any) -> np.ndarray:
    """Returns the values of a tensor; floating-point ones as float32, unless they are float64.

    Raises:
        InputError: the tensor has no values, or is quantised.
    """
    if isinstance(tensor, np.ndarray | safetensors_files.Stored):
        return np.asarray(tensor)
    if tensor.is_meta:
        raise InputError(f"{key!r} has a shape but no values (a meta tensor): save the model once it has its weights")
    if tensor.is_quantized:
        raise InputError(f"{key!r} is quantised: give the checkpoint as it was before quantisation")
    if tensor.is_nested:
        raise InputError(f"{key!r} is a nested tensor: save the model's state_dict()")
    dense = tensor.detach().resolve_conj().resolve_neg().to_dense()
    if dense.is_floating_point() and dense.element_size() != 8:
        dense = dense.float()
    return dense.numpy()


# ---------------------------------------------------------------- classes in a file


@contextlib.contextmanager
def _known_classes() -> Iterator[set[str]]:
    """Allows harmless classes in PyTorch's reader within the block; yields the names of all allowed ones."""
    import torch
    from torch import _weights_only_unpickler

    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals(_safe())
    try:
        allowed = _weights_only_unpickler._get_allowed_globals().keys()
        yield set(allowed) | set(_weights_only_unpickler._get_user_allowed_globals())
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _safe() -> list[Any]:
    """Returns NumPy's numbers and arrays, under the names of NumPy 1 and 2, and the others as plain objects."""
    numbers = {type(np.dtype(code)) for code in np.typecodes["All"]}
    arrays = [np.ndarray, np.dtype, *numbers]
    core = np._core.multiarray
    for package in ("numpy.core.multiarray", "numpy._core.multiarray"):
        arrays += [_named(f"{package}.{name}", getattr(core, name)) for name in ("scalar", "_reconstruct")]
    arrays.append(_named("numpy._core.numeric._frombuffer", np._core.numeric._frombuffer))
    dicts = [_named("collections.defaultdict", lambda *args: collections.OrderedDict())]
    return [*arrays, *dicts, *(_plain(name) for name in _HARMLESS)]


def _named(path: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that the reader finds under the given name."""

    def call(*args: Any) -> Any:
        return function(*args)

    call.__module__, _, call.__name__ = path.rpartition(".")
    call.__qualname__ = call.__name__
    return call


def _plain(path: str) -> type:
    module, _, name = path.rpartition(".")
    return type(name, (_Plain,), {"__module__": module, "__qualname__": name})


def _classes(path: Path, is_zip: bool) -> set[str]:
    """Returns the names of classes and functions in a file's pickle, without importing them; {} if it is damaged."""
    found: set[str] = set()
    with contextlib.suppress(Exception):  # PyTorch reports damaged pickles
        if is_zip:
            with zipfile.ZipFile(path) as archive:
                member = next(name for name in archive.namelist() if name.partition("/")[2] == "data.pkl")
                with archive.open(member) as file:
                    found |= _globals(file)
        else:
            with path.open("rb") as file:
                for _ in range(_LEGACY_PICKLES):
                    found |= _globals(file)
    return found


def _globals(file: BinaryIO) -> set[str]:
    from torch._weights_only_unpickler import IMPORT_MAPPING, NAME_MAPPING

    found: set[str] = set()
    pushed: list[str | None] = []
    memo: dict[int, str | None] = {}
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name == "GLOBAL":
            module, name = argument.split(" ", 1)
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
            found.add(f"{module}.{name}")
        elif opcode.name == "STACK_GLOBAL":
            found.add(".".join(map(str, pushed[-2:])))
        # The second time, names come from the memo.
        if opcode.name == "MEMOIZE" or opcode.name.endswith("PUT"):
            memo[len(memo) if argument is None else argument] = pushed[-1] if pushed else None
        elif opcode.name.endswith("GET"):
            pushed.append(memo.get(argument))
        else:
            pushed.append(argument if "UNICODE" in opcode.name else None)
    return found


def _refusal(classes: list[str]) -> str:
    """Returns the message for a file with classes that are not known to be harmless."""
    module = [name for name in classes if name.startswith(("torch.nn.", "torch.fx.", "torchvision.", "timm."))]
    shown = some(module or classes, 3, ", ")
    if module:
        return (
            f"holds a whole module ({shown}) and not its weights, which is more than tensors, and opening it could "
            "run code: load it where it was made and save model.state_dict()"
        )
    return (
        f"holds more than tensors ({shown}), and opening it could run code: load it where these are installed and "
        "trusted, and save its state_dict() alone"
    )


def _failure(error: Exception) -> str:
    """Returns the message for a file that PyTorch cannot read."""
    text = " ".join(str(error).split())
    if "legacy .tar format" in text:
        return "is a file of PyTorch before 0.1.10: load it with an old PyTorch and save its state_dict() anew"
    if "Unsupported operand" in text:
        return "was saved with another pickle protocol, or is damaged: save it without the argument pickle_protocol"
    if "Unsupported" in text or "Can only" in text or "Trying to" in text:
        return f"holds more than tensors ({text[:160]}), and opening it could run code: save its state_dict() alone"
    return f"cannot be read as a PyTorch checkpoint ({text[:120] or type(error).__name__}): download it again"
