"""Ctrl-C while a command's libraries load: one line and status 130, as later by `avsd_jax.common.cli`.

A command imports it before all else and calls `loaded` when it starts to work; where the module of the command is only
imported it does nothing. An interrupt amid imports is a traceback otherwise, or is lost where a library catches all.
"""

import os
import signal
import sys
from types import FrameType

# Those that call `loaded`.
_COMMANDS = ("avsd_jax.predict",)


def _leave(signum: int, frame: FrameType | None) -> None:
    os.write(2, b"error: interrupted\n")
    os._exit(128 + signum)


def loaded() -> None:
    """Gives Ctrl-C back to Python: there is something to clean up from here on."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_command = getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", "")
if _command in _COMMANDS and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _leave)
