"""The program `avsd`: `avsd COMMAND ...` does the same as `python -m avsd_jax.COMMAND ...`."""

import difflib
import importlib.metadata
import runpy
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from avsd_jax.common import cli, commands
from avsd_jax.errors import InputError

_HELP = """\
usage: {program} COMMAND [OPTION ...]
       {program} COMMAND --help
       {program} --version

Audio-visual saliency: where people look in a video with audio. Commands:

{commands}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status, or exits with it as the command does."""
    program = "avsd" if Path(sys.argv[0]).stem == "avsd" else "python -m avsd_jax"
    return cli.run(lambda: _dispatch(program, sys.argv[1:] if argv is None else list(argv)))


def _dispatch(program: str, argv: Sequence[str]) -> int:
    known = commands.purposes()
    command = argv[0] if argv else ""
    if command in ("", "-h", "--help"):
        print(_HELP.format(program=program, commands=_listed(known)), end="")
        return 0 if command else cli.BAD_INPUT
    if command == "--version":
        print(f"avsd_jax {importlib.metadata.version('avsd-jax')}")
        return 0
    if command not in known:
        near = [f"did you mean {name!r}?" for name in difflib.get_close_matches(command, known, 1)]
        raise InputError(f"unknown command {command!r}: {(near or [f'see {program} --help'])[0]}")
    cli.call_commands(f"{program} ")
    sys.argv[1:] = argv[1:]
    # As `python -m` does it: modules that ask which command the process runs, and its child processes, see no
    # difference.
    runpy.run_module(f"avsd_jax.{command}", run_name="__main__", alter_sys=True)
    return 0


def _listed(known: Mapping[str, str]) -> str:
    indent = " " * (max(map(len, known)) + 4)
    width = shutil.get_terminal_size((100, 24)).columns
    starts = {name: f"  {name}".ljust(len(indent)) for name in known}
    return "\n".join(
        textwrap.fill(purpose, width, initial_indent=starts[name], subsequent_indent=indent)
        for name, purpose in known.items()
    )


if __name__ == "__main__":
    sys.exit(main())
