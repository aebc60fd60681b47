"""A digest of a built dataset: the same for two builds of the same content, different for others.

It covers the bytes of every record file and of the index of videos. Texts about the build, such as the location of its
sources, are not included. Reading gigabytes takes a while, so the checksum of each file is cached in the user's cache
folder, with its size and time.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from avsd_jax.common import atomic_files
from avsd_jax.errors import InputError, StorageError

# The part of `metadata.json` that affects readers; the rest describes its origin.
_DECIDING = ("splits", "chunk_frames", "settings")
_SHOWN = 12


def dataset_digest(folder: str | Path) -> str:
    """Computes the SHA-256 of a built dataset's content, as 64 hexadecimal digits.

    Args:
        folder: the folder of one version, which holds `metadata.json` and the record files.

    Raises:
        InputError: the folder holds no built dataset, or a file of it is damaged or cannot be read.
    """
    folder = Path(folder).expanduser()
    try:
        metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
        features = json.loads((folder / "features.json").read_text(encoding="utf-8"))
        files = sorted(path for path in folder.iterdir() if ".array_record" in path.name)
        sums = _checksums(folder, files)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} holds no whole dataset ({error}): build it, see python -m avsd_jax.datasets list"
        ) from error
    index = {key: metadata.get(key) for key in _DECIDING}
    content = [[(path.name, checksum) for path, checksum in zip(files, sums, strict=True)], index, features]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def abbreviated(digest: str) -> str:
    """Returns the beginning of a digest, for display."""
    return digest[:_SHOWN]


def _checksums(folder: Path, files: Sequence[Path]) -> Iterator[str]:
    """Yields the SHA-256 of each file; splits share files by hard links, and each is read once."""
    cache = _cache_file(folder)
    known = _read_cache(cache)
    keys = [_key(path) for path in files]
    new = {key: path for key, path in zip(keys, files, strict=True) if key not in known}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(new, pool.map(_sha256, new.values()), strict=True))
    if found:
        kept = {key: known[key] for key in keys if key in known}
        with contextlib.suppress(InputError, StorageError):  # the cache only saves time
            atomic_files.write_json(cache, kept | found)
    return (found.get(key) or known[key] for key in keys)


def _key(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_dev}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cache_file(folder: Path) -> Path:
    """Returns the file of a dataset's cached checksums, outside of it, because equal builds have equal files."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    return base / "avsd_jax" / "digests" / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]}.json"


def _read_cache(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
