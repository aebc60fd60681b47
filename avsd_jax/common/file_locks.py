"""Locks on open files, which the system releases when their process ends."""

from typing import TextIO


def lock(file: TextIO | int, *, wait: bool = False) -> None:
    """Locks an open file or folder until it is closed.

    Args:
        file: the open file, or its descriptor.
        wait: block until another process has released it.

    Raises:
        BlockingIOError: another process holds it, and `wait` is false.
        OSError: there are no locks, as on Windows and on some network disks.
    """
    try:
        import fcntl  # only where a lock is taken: the module is missing on Windows
    except ModuleNotFoundError as error:
        raise OSError("this system has no file locks") from error
    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
