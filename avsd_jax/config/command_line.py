"""Options of samplers, fusions and others on the command line, which a configuration need not list."""

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

_OPTION = re.compile(r"--?config\.((?:model\.)?\w+_options|init_parts)\.(\w+)(?:=(.*))?", re.DOTALL)


def without_options(argv: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Splits `--config.sampler_options.targets=median` and the like from a command line.

    `config_flags` sets fields that a configuration has; an empty section of options has none. What is no option of the
    component is found by the check of the configuration, as from a file.

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


def add_options(config: ConfigDict, options: Mapping[str, Any]) -> None:
    """Sets options by their paths, whether a configuration has them or not; it may be locked.

    Raises:
        KeyError: it has not the section.
    """
    for path, value in options.items():
        *sections, name = path.split(".")
        section = config
        for part in sections:
            section = section[part]
        with section.unlocked(), section.ignore_type():
            section[name] = value


def _value(text: str) -> Any:
    """Returns the number, truth value, tuple or text that an argument gives."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
