"""A file of JSON lines that only grows: an entry that was acknowledged survives a killed program and a power cut."""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avsd_jax.common import atomic_files, file_locks
from avsd_jax.errors import InputError, storage_error


def read(path: Path) -> list[dict[str, Any]]:
    """Reads the whole entries of a journal; one that its writer did not complete is left out.

    Raises:
        InputError: the file cannot be read, or has an entry that is none before its end.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): put it there, readable") from error
    return _entries(path, content)[0]


def _entries(path: Path, content: bytes) -> tuple[list[dict[str, Any]], int]:
    """Returns the whole entries, and the number of bytes that they take."""
    whole = content.rfind(b"\n") + 1
    entries = []
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise InputError(f"{path}, line {number}, is damaged: restore the file, or remove the lines from there on")
        entries.append(entry)
    return entries, whole


class Journal:
    """An open journal, locked against other writers.

    Attributes:
        entries: those that were in the file when it was opened.

    Args:
        path: the file; created with its folder if missing. The rest of an entry that was not completed is cut off.

    Raises:
        InputError: it cannot be read or written, is damaged, or another program has it open.
        StorageError: the disk is full or read-only.
    """

    def __init__(self, path: Path):
        self._path = path
        atomic_files.make_folder(path.parent)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            raise self._failure(error) from error
        try:
            self._lock()
            with open(self._file, "rb", closefd=False) as file:
                self.entries, self._end = _entries(path, file.read())
            os.ftruncate(self._file, self._end)
            os.lseek(self._file, self._end, os.SEEK_SET)
            _sync_folder(path.parent)
        except BaseException:
            self.close()
            raise

    def append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Writes entries; they are on the disk when it returns. On an error the file is as before.

        Raises:
            InputError: the file cannot be written.
            StorageError: the disk is full or read-only.
        """
        lines = b"".join(
            json.dumps(entry, separators=(",", ":"), allow_nan=False).encode() + b"\n" for entry in entries
        )
        try:
            written = 0
            while written < len(lines):
                written += os.write(self._file, lines[written:])
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
                os.lseek(self._file, self._end, os.SEEK_SET)
            raise self._failure(error) from error
        self._end += len(lines)

    def close(self) -> None:
        """Closes the file, which releases the lock."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _lock(self) -> None:
        try:
            file_locks.lock(self._file)
        except BlockingIOError as error:
            raise InputError(f"{self._path} is open in another program: end that one, or use its page") from error
        except OSError:
            pass  # this system or disk has no locks

    def _failure(self, error: OSError) -> Exception:
        return storage_error(error, self._path) or InputError(
            f"{self._path} cannot be written ({error.strerror}): make it writable"
        )


def _sync_folder(folder: Path) -> None:
    """Puts the name of a new file onto the disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
