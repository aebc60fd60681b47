"""Files that are there whole or not at all."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from avsd_jax.errors import InputError, storage_error


def make_folder(folder: Path) -> None:
    """Makes a folder, and those above it, unless it is there.

    Raises:
        InputError: it cannot be made.
        StorageError: the disk is full or read-only.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) or InputError(
            f"{folder} cannot be made ({error.strerror}): give another folder"
        ) from error


def write(path: Path, write_to: Callable[[BinaryIO], object]) -> None:
    """Writes beside the target and moves it there: at no moment is there half a file of that name.

    Folders are made as needed.

    Args:
        path: the target.
        write_to: puts the content into an open file.

    Raises:
        InputError: the place cannot be written to.
        StorageError: the disk is full or read-only.
    """
    partial = path.with_name(f".{path.name}.partial")
    make_folder(path.parent)
    try:
        with partial.open("wb") as file:
            write_to(file)
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise storage_error(error, path) or InputError(
            f"{path} cannot be written ({error.strerror}): give another folder"
        ) from error


def write_text(path: Path, text: str) -> None:
    """As `write`, for text."""
    write(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """As `write_text`, for plain values; a NaN is refused, because JSON has none."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")
