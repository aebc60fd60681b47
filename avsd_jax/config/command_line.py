"""A configuration as a command line gives it: a file, and fields set as `--config.FIELD=VALUE`."""

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from avsd_jax.config.files import find_config
from avsd_jax.errors import InputError

# Options of samplers, fusions and others, which a configuration need not list.
_OPTION = re.compile(r"--?config\.((?:model\.)?\w+_options|init_parts)\.(\w+)(?:=(.*))?", re.DOTALL)

# Exceptions raised by a malformed configuration file.
_MISTAKES = (AttributeError, ImportError, LookupError, NameError, SyntaxError, TypeError, ValueError)


def load(argument: str, fields: Sequence[str] = ()) -> ConfigDict:
    """Loads a configuration file and sets fields of it.

    Args:
        argument: path of the file, with `:variant` if it has variants.
        fields: arguments of the form `--config.FIELD=VALUE`.

    Raises:
        InputError: unknown file, variant or field, a value of a wrong type, or another argument in `fields`.
    """
    fields, options = _without_options(fields)
    argv = ["config", f"--config={find_config(argument)}", *fields]
    values = flags.FlagValues()  # not absl's global ones, which importers of this package would get
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    try:
        rest = values(argv)[1:]
        _add_options(values.config, options)
    except (flags.Error, *_MISTAKES) as error:
        raise InputError(_reason(error)) from error
    if rest:
        raise InputError(f"{rest[0]!r} is not an option: fields of the configuration are set as --config.FIELD=VALUE")
    return values.config


def _reason(error: Exception) -> str:
    """Returns what is wrong in one sentence."""
    # If a configuration fails to load, the message is a whole traceback; its last line gives the reason.
    reason = re.sub(r"^\w+Error: ", "", str(error).strip().splitlines()[-1])
    while quoted := re.fullmatch(r"(['\"])(.*)\1", reason):  # quoted once by each KeyError that it passed
        reason = quoted[2]
    if isinstance(error, AttributeError | KeyError) and reason.isidentifier():
        return f"the configuration has no field {reason!r}: its file lists the existing ones"
    if guess := re.search(r'Did you mean "(\w+)" instead of "(\w+)"', reason):
        return f"the configuration has no field {guess[2]!r}: did you mean {guess[1]!r}?"
    return reason


def _without_options(argv: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Splits `--config.sampler_options.targets=median` and the like from a command line.

    `config_flags` only sets fields that a configuration has; an empty section of options has none. Unknown options of
    the component are found when the configuration is checked, as for a file.

    Returns:
        The other arguments, and the values by path ("sampler_options.targets").
    """
    rest, options = [], {}
    arguments = iter(argv)
    for argument in arguments:
        match = _OPTION.fullmatch(argument)
        if match:
            text = next(arguments, "") if match[3] is None else match[3]
            options[f"{match[1]}.{match[2]}"] = _value(text)
        else:
            rest.append(argument)
    return rest, options


def _add_options(config: ConfigDict, options: Mapping[str, Any]) -> None:
    """Sets options by their paths, even if a configuration lacks them or is locked.

    Raises:
        KeyError: it lacks the section.
    """
    for path, value in options.items():
        *sections, name = path.split(".")
        section = config
        for part in sections:
            section = section[part]
        with section.unlocked(), section.ignore_type():
            section[name] = value


def _value(text: str) -> Any:
    """Parses an argument as a number, truth value, tuple or text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
