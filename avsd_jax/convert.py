"""Converts a published PyTorch checkpoint to a model folder.

    python -m avsd_jax.convert --model=avinet --checkpoint=AViNet.pt --out=DIR

Reading a `.pt` file needs PyTorch (`pip install "avsd-jax[convert]"`). Only tensors are read: a file that
would run code when opened is refused. DIR then serves `python -m avsd_jax.predict --checkpoint=DIR` and
`--config.init=DIR`.
"""

import dataclasses
import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from avsd_jax.by_name import available, load_module
from avsd_jax.checkpoint import save_variables
from avsd_jax.cli import run as run_command
from avsd_jax.errors import InputError
from avsd_jax.torch_import import options, to_variables
from avsd_jax.torch_layouts import NAMES

# How the clips of a family's published models were prepared, for prediction.
_FEEDING = {
    "vinet": {"frame_size": [224, 384], "sampler": "vinet", "preprocessing": "vinet"},
    "stavis": {"frame_size": [112, 112], "sampler": "stavis", "preprocessing": "stavis"},
    "stanet": {"frame_size": [356, 356], "sampler": "centred", "preprocessing": "stanet"},
}

# Keys under which training scripts put the weights, beside optimiser state and the like.
_WRAPPERS = ("state_dict", "model_state_dict", "model")

# Fields of a model that are not the network's but of where it runs.
_NOT_RECORDED = ("parent", "name", "lowering", "axis_name")


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a PyTorch checkpoint, executing nothing that is in it.

    Args:
        path: a `.pt` or `.pth` file, of PyTorch 1.5 and older too, that holds a state dict, bare or under
            "state_dict", "model_state_dict" or "model".

    Returns:
        `{key: array}`; floating-point tensors as float32.

    Raises:
        InputError: PyTorch is not installed, the file cannot be read, or it holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no checkpoint {path}: give the path of a .pt file")
    try:
        import torch
    except ImportError as error:
        raise InputError('reading a PyTorch checkpoint needs PyTorch: pip install "avsd-jax[convert]"') from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is no plain checkpoint: it is damaged or holds more than tensors, and opening such a "
            "file could run code; save its state_dict() alone"
        ) from error
    except Exception as error:  # torch raises many types for what is no checkpoint
        raise InputError(f"{path} cannot be read as a PyTorch checkpoint: download it again") from error
    entries = unwrap(content, path).items()
    tensors = {k: v.detach().to_dense() for k, v in entries if isinstance(k, str) and isinstance(v, torch.Tensor)}
    return {k: (v.float() if v.is_floating_point() else v).numpy() for k, v in tensors.items()}


def unwrap(content: Any, path: str | Path = "the checkpoint") -> Mapping[str, Any]:
    """The state dict in what a checkpoint file holds.

    Raises:
        InputError: there is none.
    """
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if isinstance(content, Mapping) and any(hasattr(v, "shape") for v in content.values()):
        return content
    raise InputError(
        f"{path} holds no state dict, neither bare nor under {', '.join(map(repr, _WRAPPERS))}: "
        "save the model's state_dict()"
    )


def model_options(name: str, state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Every option of the model that fits a checkpoint, those left at their defaults included."""
    found = options(name, state)
    if name not in available("avsd_jax.models"):
        return found
    fields = dataclasses.fields(load_module("avsd_jax.models", name, "model").Model)
    defaults = {f.name: f.default for f in fields if f.name not in _NOT_RECORDED}
    return {k: dict(v) if isinstance(v, Mapping) else v for k, v in (defaults | found).items()}


def record(name: str, model: Mapping[str, Any], source: str) -> dict[str, Any]:
    """What `config.json` says of a converted model: enough to build it and to feed it as it was trained."""
    feeding = _FEEDING.get(name.split("_")[0], _FEEDING["vinet"])
    built = {"model_name": name, "model": dict(model), "source": source}
    return built | feeding | {"frame_step": 1, "samples_per_video": 1}


def convert(name: str, checkpoint: str | Path, out: str | Path) -> Path:
    """Converts a checkpoint file to a model folder.

    Args:
        name: one of `avsd_jax.torch_layouts.NAMES`.
        checkpoint: PyTorch file.
        out: new or empty folder; it appears whole or not at all.

    Returns:
        `out`.

    Raises:
        InputError: the file cannot be read, is not of this network, or the folder is not empty.
    """
    state = read_state_dict(checkpoint)
    variables = to_variables(name, state)
    save_variables(out, record(name, model_options(name, state), Path(checkpoint).name), variables)
    return Path(out)


def flag_values() -> flags.FlagValues:
    """The flags; a set of their own, as other command lines of this package have flags of the same names."""
    values = flags.FlagValues()
    flags.DEFINE_enum("model", None, NAMES, "Network of the checkpoint.", flag_values=values)
    flags.DEFINE_string("checkpoint", None, "PyTorch file to read.", flag_values=values)
    flags.DEFINE_string("out", None, "New or empty folder to write.", flag_values=values)
    return values


def parse_flags(argv: Sequence[str]) -> flags.FlagValues:
    """Parses the command line.

    Raises:
        InputError: a flag is unknown, missing or has a wrong value.
    """
    values = flag_values()
    try:
        rest = values(list(argv))
    except flags.Error as error:
        raise InputError(str(error).splitlines()[0]) from error
    if len(rest) > 1:
        raise InputError(f"{rest[1]!r} is no option: see python -m avsd_jax.convert --help")
    for name in ("model", "checkpoint", "out"):
        if not values[name].value:
            raise InputError(f"--{name} is missing: see python -m avsd_jax.convert --help")
    return values


def main(argv: Sequence[str]) -> int:
    """Runs a command line; returns the exit status, 2 for a user's mistake."""
    if {"-h", "--help"} & set(argv[1:]):
        print(f"{__doc__}\n{flag_values().get_help()}")
        return 0
    return run_command(lambda: _convert_command_line(parse_flags(argv)))


def _convert_command_line(values: flags.FlagValues) -> None:
    print(f"wrote {convert(values.model, values.checkpoint, values.out)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
