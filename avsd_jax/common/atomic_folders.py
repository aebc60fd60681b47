"""Folders that are replaced as a whole: at no moment is there none, or a mixture of two."""

import ctypes
import os
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def exchange(new: Path, old: Path, aside: Path) -> None:
    """Gives two folders each other's name, so that `old` has the content of `new`.

    Linux does it in one step on most file systems. Elsewhere it takes three renames; a process that is killed between
    them leaves the old folder at `aside`, from where `restore` brings it back.

    Args:
        new: a complete folder.
        old: the folder to replace, on the same file system.
        aside: a path on the same file system that is not taken.

    Raises:
        OSError: neither was possible; both folders are where they were.
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
    """Brings a folder back that a process which was killed in `exchange` left aside."""
    if aside.is_dir() and not old.exists():
        os.rename(aside, old)


def _exchanged(first: Path, second: Path) -> bool:
    """Whether the system exchanged the two names in one step; Python has no call of its own for it."""
    try:
        call = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):  # not Linux, or an old C library
        return False
    return call(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0
