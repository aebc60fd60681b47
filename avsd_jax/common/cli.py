"""The entry point of all commands: bad input, a full disk and Ctrl-C become one line on stderr and an exit status."""

import argparse
import contextlib
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from avsd_jax.errors import InputError, storage_error

BAD_INPUT, FAILED = 2, 1
_BY_MODULE = "python -m avsd_jax."
# The same commands as the process was started: "avsd " before their names, if by the program `avsd`.
_called = _BY_MODULE


@contextlib.contextmanager
def sigterm_exits() -> Iterator[None]:
    """Lets SIGTERM end the command within the context like an exception, so that it cleans up as after Ctrl-C."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def call_commands(prefix: str) -> None:
    """Sets what stands before the names of commands in `--help`, instead of `python -m avsd_jax.`."""
    global _called
    _called = prefix


def _renamed(text: str | None) -> str | None:
    """Returns a text of `--help` with the commands as they were called; lines that continue one stay under it."""
    if text is None or _called == _BY_MODULE:
        return text
    lines, shift = [], 0
    for line in text.split("\n"):
        if _BY_MODULE in line:
            shift = len(_BY_MODULE) - len(_called)
        elif not re.match(f" {{{len(_BY_MODULE)},}}", line):
            shift = 0
        else:
            line = line[max(shift, 0) :]
        lines.append(line.replace(_BY_MODULE, _called))
    return "\n".join(lines)


class _Asked(BaseException):  # no command handles it
    """Carries the parser of a command that is asked for it."""


_asking = False


def parser_of(main: Callable[[Sequence[str]], int]) -> "Parser":
    """Returns the parser of a command, which does nothing else.

    Args:
        main: the command's `main`, which parses with a `Parser`.
    """
    global _asking
    _asking = True
    try:
        main([])
    except _Asked as asked:
        return asked.args[0]
    finally:
        _asking = False
    raise TypeError(f"{main.__module__}.main parses no command line")


class Parser(argparse.ArgumentParser):
    """argparse's parser, with the error and help format of all commands.

    Options cannot be abbreviated, so that a new one breaks no script. Call `parse_args` within `run`.

    Args:
        prog: the command in usage messages.
        description, epilog: before and after the options in `--help`, printed verbatim.
    """

    def __init__(self, prog: str, description: str | None = None, epilog: str | None = None, **options: object):
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        texts = {"description": _renamed(description), "epilog": _renamed(epilog)}
        super().__init__(_renamed(prog), allow_abbrev=False, **texts, **options)

    def parse_known_args(self, *args: Any, **options: Any) -> tuple[argparse.Namespace, list[str]]:
        """Parses as argparse does."""
        if _asking:
            raise _Asked(self)
        return super().parse_known_args(*args, **options)

    def error(self, message: str) -> NoReturn:
        """Raises InputError: an option is unknown, missing or has a wrong value."""
        raise InputError(f"{message}: see {self.prog} --help")


def at_least(least: int) -> Callable[[str], int]:
    """Returns a type for `Parser.add_argument`: whole numbers from `least` on."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {least} or more")
        return int(text)

    return parse


positive = at_least(1)


def number(least: float, most: float) -> Callable[[str], float]:
    """Returns a type for `Parser.add_argument`: numbers from `least` to `most`, both included."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
        return value

    return parse


def run(command: Callable[[], int | None], statuses: Mapping[type[Exception], int] | None = None) -> int:
    """Runs a command and returns its exit status.

    Args:
        command: does the work; returns a status, or None for 0.
        statuses: further exceptions that end this command with one line, and their status.

    Returns:
        The result of `command`; 2 for bad input (`InputError`), 1 if the disk is full or read-only, 130 after
        Ctrl-C, 141 if the reader of the output has exited (`... | head`). Anything else is a bug and raises.
    """
    if hasattr(sys.stdout, "reconfigure"):
        # Names of files that the output's encoding lacks are escaped, as on stderr.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = command() or 0
        sys.stdout.flush()
        return status
    except InputError as error:
        return _complain(error, BAD_INPUT)
    except KeyboardInterrupt:
        return _complain("interrupted", 128 + signal.SIGINT)
    except BrokenPipeError:
        # The interpreter flushes stdout again when it exits, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13  # SIGPIPE, which Windows does not have
    except Exception as error:
        for kind, status in (statuses or {}).items():
            if isinstance(error, kind):
                return _complain(error, status)
        storage = storage_error(error)
        if storage is None:
            raise
        return _complain(storage, FAILED)


def _complain(error: object, status: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return status
