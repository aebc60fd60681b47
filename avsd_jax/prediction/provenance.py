"""What a prediction was made of, in its record: digests of the model with its options, and of the input."""

import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from avsd_jax.common.file_digest import sha256
from avsd_jax.errors import InputError

# Headers of records are shorter.
_HEADER_BYTES = 1 << 16


def digest(*values: Any) -> str:
    """Returns the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def of_model(config: ConfigDict, variables: Any) -> str:
    """Returns a digest of a model: its configuration, its variables, and the version of this package."""
    found = hashlib.sha256(digest(metadata.version("avsd-jax"), config.to_dict()).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        values = np.asarray(leaf)
        found.update(f"{jax.tree_util.keystr(path)} {values.dtype} {values.shape}".encode())
        found.update(np.ascontiguousarray(values).view(np.uint8).reshape(-1).data)
    return found.hexdigest()


def of_file(path: Path) -> dict[str, Any]:
    """Returns the size of a file, its time in nanoseconds, and the SHA-256 of its contents.

    Raises:
        InputError: it cannot be read.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a readable file") from error
    return {"bytes": stat.st_size, "modified": stat.st_mtime_ns, "sha256": sha256(path)}


def is_of_file(recorded: Any, path: Path) -> bool:
    """Returns whether `of_file` gives what is recorded; the contents are read only if the time has changed."""
    if not isinstance(recorded, Mapping):
        return False
    try:
        stat = path.stat()
    except OSError:
        return False
    if recorded.get("bytes") != stat.st_size:
        return False
    return recorded.get("modified") == stat.st_mtime_ns or recorded.get("sha256") == of_file(path)["sha256"]


def header(record: Path, rows: str) -> dict[str, Any]:
    """Returns the first fields of a record that `avsd_jax.prediction.timeline.TimelineWriter` wrote, {} if it is none.

    Args:
        record: the file, which may be long.
        rows: name of the field of its rows.
    """
    try:
        with record.open("rb") as file:
            begin = file.read(_HEADER_BYTES).decode(errors="replace")
        found = json.loads(begin.partition(f',\n  "{rows}": [')[0] + "\n}")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
