"""The digest of a file's content."""

import hashlib
from pathlib import Path

from avsd_jax.errors import InputError


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's content.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a readable file") from error
