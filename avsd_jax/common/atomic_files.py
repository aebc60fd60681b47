"""Atomic file writes."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from avsd_jax.errors import InputError, storage_error


def make_folder(folder: Path) -> None:
    """Creates a folder and its parents unless they exist.

    Raises:
        InputError: it cannot be created.
        StorageError: the disk is full or read-only.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) or InputError(
            f"{folder} cannot be created ({error.strerror}): give another folder"
        ) from error


def write(path: Path, write_to: Callable[[BinaryIO], object]) -> None:
    """Writes a temporary file beside the target and renames it, so that a partial file never has the target's name.

    Folders are created as needed.

    Args:
        path: the target.
        write_to: writes the content to an open file.

    Raises:
        InputError: the path cannot be written to.
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
    """Writes text; see `write`."""
    write(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Writes plain values as JSON; see `write`. NaN is refused, because JSON has none."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")
