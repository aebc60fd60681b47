"""Atomic replacement of folders: at no time is the folder missing, or a mixture of two."""

import ctypes
import os
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def exchange(new: Path, old: Path, aside: Path) -> None:
    """Exchanges the names of two folders, so that `old` has the content of `new`.

    Linux does it in one step on most file systems. Elsewhere it takes three renames; a process that is killed between
    them leaves the old folder at `aside`, from where `restore` moves it back.

    Args:
        new: a complete folder.
        old: the folder to replace, on the same file system.
        aside: an unused path on the same file system.

    Raises:
        OSError: neither was possible; both folders are unchanged.
    """
    if _exchanged(new, old):
        return
    os.rename(old, aside)
    try:
        os.rename(new, old)
    except OSError:
        os.rename(aside, old)
        raise
    os.rename(aside, new)


def restore(old: Path, aside: Path) -> None:
    """Moves back a folder that a process killed in `exchange` left aside."""
    if aside.is_dir() and not old.exists():
        os.rename(aside, old)


def _exchanged(first: Path, second: Path) -> bool:
    """Returns whether the system exchanged the two names in one step; Python has no function for it."""
    try:
        call = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):  # not Linux, or an old C library
        return False
    return call(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0
