"""Atomic creation of folders, however the process that creates them ends.

A folder is created beside its target under a temporary name and renamed at the end. Its process holds a lock on it,
which the system releases when the process ends, so the remains of a killed process can be distinguished from the work
of a running one.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from avsd_jax.common import file_locks
from avsd_jax.errors import InputError, storage_error

_SUFFIX = ".partial"


@contextlib.contextmanager
def new_folder(target: str | Path) -> Iterator[Path]:
    """Yields a folder to fill, which becomes `target` when the block ends without an exception.

    The remains of killed processes for the same target are removed first.

    Args:
        target: must be absent or an empty folder; its parents are created.

    Yields:
        An empty folder beside `target`. It is removed if the block raises.

    Raises:
        InputError: the target is not empty, is not a folder, or cannot be written to.
        StorageError: the disk is full or read-only.
    """
    target = Path(os.path.abspath(target))
    check_target(target)
    with _named_errors(target), _stops_on_sigterm():
        absent = [folder for folder in target.parents if not folder.exists()]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(target)
            partial, lock = _locked_folder(target)
            try:
                yield partial
                os.replace(partial, target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
                if lock is not None:
                    os.close(lock)
        except BaseException:
            for folder in absent:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise


def check_target(target: str | Path) -> None:
    """Refuses a target that exists already or cannot be replaced.

    Raises:
        InputError: it is a link, a file, not empty, or the folder that the command runs in.
    """
    target = Path(os.path.abspath(target))
    with _named_errors(target):
        if target.is_symlink():
            raise InputError(f"{target} is a link to {os.readlink(target)}: give that folder, or remove the link")
        if target.exists() and not target.is_dir():
            raise InputError(f"{target} is a file: give a new folder")
        if target.is_dir() and any(target.iterdir()):
            raise InputError(f"{target} is not empty: give a new folder, or remove it first")
        above = next((folder for folder in target.parents if folder.exists()), target.parent)
        if not above.is_dir():
            raise InputError(f"{target} cannot be made: {above} is a file; give another folder")
        if target == Path.cwd() or target in Path.cwd().parents:
            raise InputError(f"{target} is the folder that the command runs in: give a new folder within it")


def remove_leftovers(target: Path) -> None:
    """Removes what processes that no longer run left beside `target`; a running one holds a lock on its folder."""
    name = re.escape(target.name)
    for folder in target.parent.iterdir():
        if re.fullmatch(rf"\.{name}-[0-9a-f]{{8}}{re.escape(_SUFFIX)}", folder.name) or _is_old_leftover(folder, name):
            with contextlib.suppress(OSError):
                lock = _lock(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _is_old_leftover(folder: Path, name: str) -> bool:
    """Returns whether a folder is what earlier versions left of a model: private, and nothing else in it."""
    if not re.fullmatch(rf"\.{name}-[a-z0-9_]{{8}}", folder.name) or folder.is_symlink() or not folder.is_dir():
        return False
    if stat.S_IMODE(folder.stat().st_mode) != stat.S_IRWXU or not os.access(folder, os.R_OK):
        return False
    return {member.name for member in folder.iterdir()} <= {"config.json", ".config.json.tmp", "checkpoints"}


def _locked_folder(target: Path) -> tuple[Path, int | None]:
    """Creates the folder to fill; the lock is None if the file system has none."""
    while True:
        partial = target.with_name(f".{target.name}-{secrets.token_hex(4)}{_SUFFIX}")
        partial.mkdir()
        try:
            lock = _lock(partial)
        except (BlockingIOError, FileNotFoundError):  # taken for a leftover before it was locked
            continue
        except OSError:
            return partial, None
        if partial.is_dir():
            return partial, lock
        os.close(lock)


def _lock(folder: Path) -> int:
    """Locks a folder until the returned descriptor is closed, or this process ends.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the folder does not exist, or there are no locks.
    """
    if not hasattr(os, "O_DIRECTORY"):  # Windows
        raise OSError("a folder cannot be locked here")
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        file_locks.lock(opened)
    except OSError:
        os.close(opened)
        raise
    return opened


@contextlib.contextmanager
def _named_errors(target: Path) -> Iterator[None]:
    """Converts errors of the system about a path to one sentence."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        storage = storage_error(error, target)
        if storage is not None:
            raise storage from error
        if isinstance(error, OSError) and error.errno is not None:
            reason = os.strerror(error.errno)
            raise InputError(f"{target} cannot be written ({reason}): give another folder") from error
        raise


@contextlib.contextmanager
def _stops_on_sigterm() -> Iterator[None]:
    """Lets SIGTERM end the process through its `finally` blocks, unless it is handled already."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if not ours:
        yield
        return
    signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(signum: int, frame: FrameType | None) -> None:
    print(f"error: stopped by {signal.Signals(signum).name}", file=sys.stderr)
    raise SystemExit(128 + signum)
