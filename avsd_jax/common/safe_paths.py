"""Paths that stay below a root: names from a list or a folder must not lead elsewhere."""

import os
from pathlib import Path

from avsd_jax.errors import InputError


def checked_name(name: str, where: str) -> str:
    """Returns the name if it can only be a file or folder directly below the one it is joined to.

    Args:
        name: from a list or a command line.
        where: its origin, for the message.

    Raises:
        InputError: it is empty, absolute, has a separator or a control character, or is `.` or `..`.
    """
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
        raise InputError(
            f"{where}: {name!r} is not a plain name: write it without folders, '..' and control characters"
        )
    return name


def below(root: Path, *names: str) -> Path:
    """Joins `root` with names, each checked; the root itself is the user's choice and may be a link.

    Raises:
        InputError: a name is not plain, or one of the paths below the root is a link.
    """
    path = root
    for name in names:
        path = path / checked_name(name, str(path))
        if path.is_symlink():
            raise InputError(f"{path} is a link, which is not followed: put the files themselves there")
    return path


def file_names(folder: Path) -> list[str]:
    """Returns the sorted names of the plain files and of the links in a folder; none if there is no folder.

    Hidden files are omitted: they come from editors and interrupted writers. A link is returned although it is never
    followed: `below` refuses it by name, which is clearer than treating it as missing.

    Raises:
        InputError: the folder cannot be listed, or has a name that is not UTF-8.
    """
    return sorted(e.name for e in _entries(folder) if e.is_symlink() or e.is_file())


def folder_names(folder: Path) -> list[str]:
    """Returns the names of the folders and of the links in a folder; see `file_names`."""
    return sorted(e.name for e in _entries(folder) if e.is_symlink() or e.is_dir())


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        entries = list(os.scandir(folder)) if folder.is_dir() else []
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}): fix its permissions") from error
    for entry in entries:
        if not is_text(entry.name):
            raise InputError(f"{folder} has a file or folder whose name is not UTF-8, {entry.name!r}: rename it")
    return [entry for entry in entries if not entry.name.startswith(".")]


def is_text(name: str) -> bool:
    """Returns whether a name is UTF-8: others can be neither printed nor stored in a dataset."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def read_text(path: Path) -> str:
    """Reads a UTF-8 text file, with or without a byte order mark.

    Raises:
        InputError: it cannot be read, or is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): put it there, readable") from error
