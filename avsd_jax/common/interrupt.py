"""Handling of Ctrl-C during imports: one line and status 130, as later by `avsd_jax.common.cli`.

A command imports this module first and calls `loaded` when it starts to work; if the module of the command is only
imported, it has no effect. Otherwise an interrupt during imports is a traceback, or is lost if a library catches it.
"""

import os
import signal
import sys
from types import FrameType

# The modules that call `loaded`.
_COMMANDS = ("avsd_jax.predict", "avsd_jax.avc")


def _leave(signum: int, frame: FrameType | None) -> None:
    os.write(2, b"error: interrupted\n")
    os._exit(128 + signum)


def loaded() -> None:
    """Restores Python's handling of Ctrl-C: from here on there is something to clean up."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_command = getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", "")
if _command in _COMMANDS and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _leave)
