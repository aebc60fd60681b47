"""A configuration as a command line gives it: a file, and fields set as `--config.FIELD=VALUE`."""

import re
from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from avsd_jax.config.files import find_config
from avsd_jax.errors import InputError

# What a configuration file that is wrong raises.
_MISTAKES = (AttributeError, ImportError, LookupError, NameError, SyntaxError, TypeError, ValueError)


def load(argument: str, fields: Sequence[str] = ()) -> ConfigDict:
    """Loads a configuration file and sets fields of it.

    Args:
        argument: path of the file, with `:variant` where it has some.
        fields: arguments of the form `--config.FIELD=VALUE`.

    Raises:
        InputError: there is no such file, variant or field, a value has a wrong type, or `fields` holds something else.
    """
    argv = ["config", f"--config={find_config(argument)}", *fields]
    values = flags.FlagValues()  # not absl's global ones, which importers of this package would get
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    try:
        rest = values(argv)[1:]
    except (flags.Error, *_MISTAKES) as error:
        raise InputError(_reason(error)) from error
    if rest:
        raise InputError(f"{rest[0]!r} is no option: fields of the configuration are set as --config.FIELD=VALUE")
    return values.config


def _reason(error: Exception) -> str:
    """Returns what is wrong in one sentence."""
    # A configuration that fails to load comes as a whole traceback in the message; its last line says why.
    reason = re.sub(r"^\w+Error: ", "", str(error).strip().splitlines()[-1])
    while quoted := re.fullmatch(r"(['\"])(.*)\1", reason):  # once by each KeyError that it went through
        reason = quoted[2]
    if isinstance(error, AttributeError | KeyError) and reason.isidentifier():
        return f"the configuration has no field {reason!r}: its file lists those there are"
    if guess := re.search(r'Did you mean "(\w+)" instead of "(\w+)"', reason):
        return f"the configuration has no field {guess[2]!r}: did you mean {guess[1]!r}?"
    return reason
