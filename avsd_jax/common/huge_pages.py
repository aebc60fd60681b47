"""Huge pages for the memory of a command: on Linux with glibc it starts itself once more and asks for them.

XLA takes the scratch of a program anew for every call, gigabytes for a training step, and Linux hands it out, zeroed,
in pages of 4 kB; in pages of 2 MB a step is up to a third shorter (docs/performance.md). Where the system gives them
to those who ask ("madvise", the default of most distributions), glibc's malloc asks if the variable GLIBC_TUNABLES
says so when the process starts. So a command imports this module first. It replaces the process by the same command
line with the variable set, before it has done anything: process id, files, ignored signals, exit status stay. If the
module of the command is only imported, nothing happens. `GLIBC_TUNABLES=glibc.malloc.hugetlb=0` leaves it out.
"""

import contextlib
import os
import sys
from pathlib import Path

# The commands that import this module.
_COMMANDS = ("avsd_jax.main", "avsd_jax.scam.__main__", "avsd_jax.predict", "avsd_jax.web.worker", "benchmarks.run")
_VARIABLE, _TUNABLE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def asked_for() -> bool:
    """Returns whether this process asked for huge pages when it started."""
    return f"{_TUNABLE}=1" in os.environ.get(_VARIABLE, "").split(":")


def _is_command() -> bool:
    """Returns whether the process was started to run one of the commands."""
    return getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", "") in _COMMANDS


def _watched() -> bool:
    """Returns whether a debugger, profiler or coverage is at work, which would lose what it knows of the process."""
    monitoring = getattr(sys, "monitoring", None)  # Python 3.12
    tools = monitoring is not None and any(monitoring.get_tool(number) for number in range(6))
    return tools or sys.gettrace() is not None or sys.getprofile() is not None


def _can_ask() -> bool:
    """Returns whether the C library is a glibc that knows the tunable, and the system gives pages to those who ask."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        major, minor = version.split(".")[:2]
        return name == "glibc" and (int(major), int(minor)) >= (2, 35) and "[madvise]" in _SETTING.read_text()
    except (OSError, ValueError, AttributeError):  # another system, or another C library
        return False


def _start_again() -> None:
    """Replaces the process, or returns if the system refuses to."""
    before = os.environ.get(_VARIABLE)
    joined = ":".join([*([before] if before else []), f"{_TUNABLE}=1"])
    with contextlib.suppress(OSError):
        os.execve(sys.executable, sys.orig_argv, {**os.environ, _VARIABLE: joined})


# Once: the variable is set then.
if _is_command() and _TUNABLE not in os.environ.get(_VARIABLE, "") and sys.executable and not _watched() and _can_ask():
    _start_again()
