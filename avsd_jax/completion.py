"""Prints the completion of `avsd` for a shell.

    avsd completion bash > ~/.local/share/bash-completion/completions/avsd
    avsd completion zsh > ~/.zfunc/_avsd        (a folder of fpath)
    avsd completion fish > ~/.config/fish/completions/avsd.fish

The next shell completes commands, their options, the names of models, datasets and configurations, and files. Commands
of an extra that is not installed are completed without their options: print it again after installing one.
"""

import argparse
import importlib.util
import re
import sys
from collections.abc import Sequence

import shtab

from avsd_jax.common import by_name, cli, commands
from avsd_jax.config import files
from avsd_jax.config.fields import FIELDS
from avsd_jax.data import catalog
from avsd_jax.errors import InputError

SHELLS = ("bash", "zsh", "fish")

# Bash splits words at "=" and ":", which shtab's function does not expect: `--out=DIR`, `avinet.py:demo`.
_BASH_WORDS = """
_avsd() {
  local -a words=()
  local word glued="" i
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ $word == "=" ]]; then
      ((i < COMP_CWORD)) || words+=("")
    elif [[ $word == ":" || -n $glued ]]; then
      words[${#words[@]}-1]+=$word
      if [[ $word == ":" ]]; then glued=yes; else glued=""; fi
    else
      words+=("$word")
    fi
  done
  local last=${words[${#words[@]}-1]}
  local -a COMP_WORDS=("${words[@]}")
  local COMP_CWORD=$((${#words[@]} - 1))
  _shtab_avsd
  if [[ $last == *:* && $COMP_WORDBREAKS == *:* ]]; then
    COMPREPLY=("${COMPREPLY[@]#"${last%"${last##*:}"}"}")
  fi
}

complete -o bashdefault -F _avsd avsd
"""


def script(shell: str) -> str:
    """Returns the completion of all commands for a shell, one of `SHELLS`."""
    program = argparse.ArgumentParser("avsd")
    program.add_argument("--version", action="version", version="", help="print the version")
    subparsers = program.add_subparsers(metavar="COMMAND")
    for name, purpose in commands.purposes().items():
        try:
            options = _options(name)
        except InputError:  # of an extra that is not installed
            options = []
        subparsers.add_parser(name, help=purpose, description=purpose, parents=options, add_help=False)
    text = shtab.complete(program, shell)
    if shell == "bash":
        return text + _BASH_WORDS
    if shell == "zsh":
        # As `--option VALUE`, and as `--option=VALUE`.
        return re.sub(r'^( *"--[\w.]+)\[(.*\]:)', r"\1=[\2", text, flags=re.MULTILINE)
    return text


def _options(command: str) -> list[argparse.ArgumentParser]:
    """Returns the parser of a command, whose options know their values."""
    module = f"avsd_jax.{command}"
    if importlib.util.find_spec(module).submodule_search_locations:
        module += ".__main__"
    parser = cli.parser_of(importlib.import_module(module).main)
    if any("--config" in action.option_strings for action in parser._actions):
        for field in FIELDS:
            parser.add_argument(f"--config.{field}", metavar="VALUE", help="field of the configuration")
    _complete(parser)
    return [parser]


def _complete(parser: argparse.ArgumentParser) -> None:
    """Says how the values of each option are completed."""
    named = {"model": _models, "config": _configurations, "dataset": catalog.names}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                _complete(sub)
        elif action.choices or action.nargs == 0:
            continue
        elif action.dest in named:
            action.choices = named[action.dest]()
        elif re.search("DIR|FOLDER", action.metavar or action.dest.upper()):
            action.complete = shtab.DIRECTORY
        elif action.type is None and (not action.metavar or re.search("FILE|INPUT|PATH", action.metavar)):
            action.complete = shtab.FILE


def _models() -> list[str]:
    """Returns the models that predict without weights."""
    package = "avsd_jax.models"
    modules = {name: importlib.import_module(f"{package}.{name}") for name in by_name.available(package)}
    return [name for name, module in modules.items() if not getattr(module.Model, "learned", True)]


def _configurations() -> list[str]:
    """Returns the configurations that come with the package, and each of their variants."""
    return [name for file in files.shipped() for name in (file, *(f"{file}:{v}" for v in files.variants(file)))]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    parser = cli.Parser("python -m avsd_jax.completion", __doc__)
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    return cli.run(lambda: print(script(parser.parse_args(argv).shell), end=""))


if __name__ == "__main__":
    sys.exit(main())
