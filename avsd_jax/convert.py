"""Converts a published PyTorch checkpoint to a model folder.

    python -m avsd_jax.convert --model=avinet --checkpoint=AViNet.pt --out=DIR

Reading a `.pt` file needs PyTorch (`pip install "avsd-jax[convert]"`), a `.safetensors` file does not. Only
tensors are read: a file that would run code when opened is refused. The weights are found under whatever keys and
prefixes the training script put them; `--weights=PATH` chooses where there are several. DIR then serves
`python -m avsd_jax.predict --checkpoint=DIR` and `--config.init=DIR`.
"""

import sys
from collections.abc import Sequence

from absl import flags

from avsd_jax.common.cli import run as run_command
from avsd_jax.errors import InputError
from avsd_jax.torch_weights.conversion import convert
from avsd_jax.torch_weights.layouts import NAMES


def flag_values() -> flags.FlagValues:
    """The flags; a set of their own, as other command lines of this package have flags of the same names."""
    values = flags.FlagValues()
    flags.DEFINE_enum("model", None, NAMES, "Network of the checkpoint.", flag_values=values)
    flags.DEFINE_string("checkpoint", None, "File of PyTorch or safetensors to read.", flag_values=values)
    flags.DEFINE_string("out", None, "New or empty folder to write.", flag_values=values)
    flags.DEFINE_string(
        "weights", None, "Path within the file where it holds several copies; '.': outermost.", flag_values=values
    )
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
    print(f"wrote {convert(values.model, values.checkpoint, values.out, values.weights)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
