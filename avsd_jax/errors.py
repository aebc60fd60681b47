"""The exceptions that end a command with one line instead of a traceback."""

import errno
from collections.abc import Iterator

_STORAGE = {
    errno.ENOSPC: "No space left on device",
    errno.EDQUOT: "Disk quota exceeded",
    errno.EROFS: "Read-only file system",
    errno.EFBIG: "File too large",
}


class InputError(ValueError):
    """Bad input: the message is one sentence that names the problem and the fix.

    Command-line entry points print it without a traceback and exit with status 2.
    """


class StorageError(OSError):
    """A disk that is full or read-only: the message is one sentence. Commands exit with status 1."""


def storage_error(error: BaseException, place: object = "") -> StorageError | None:
    """Returns a StorageError if `error`, or one that led to it, is due to a full or read-only disk, else None.

    Args:
        error: any exception; C++ libraries put the system's message into exceptions of other types.
        place: the written path; by default the file that the exception names.
    """
    for cause in _chain(error):
        if isinstance(cause, StorageError) and not place:
            return cause
        number = cause.errno if isinstance(cause, OSError) else None
        for code, words in _STORAGE.items():
            if number == code or (number is None and words.lower() in str(cause).lower()):
                where = place or getattr(cause, "filename", None) or "a file"
                return StorageError(f"{where} cannot be written ({words}): free some space or write to another folder")
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an exception and its causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
