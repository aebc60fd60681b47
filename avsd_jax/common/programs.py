"""Compiled programs, kept between processes in the user's cache folder by jax's persistent compilation cache."""

import contextlib
import hashlib
import os
import platform
import shutil
import tempfile
import warnings
from pathlib import Path

import jax
from absl import logging
from jax.experimental.compilation_cache import compilation_cache

# The value of `config.compilation_cache` by default.
AUTO = "auto"
# Bytes that the folder may hold; what was not used for longest is removed.
LIMIT = 4 * 2**30
# Seconds from which a compilation is worth a file. Most programs of a prediction are small.
_LEAST_SECONDS = 0.05
# Bytes that a disk must have left; a program that is cut off would be read, and refused, at every later start.
_LEAST_SPACE = 256 * 2**20


def keep_programs(folder: str | Path = AUTO) -> None:
    """Lets this process read compiled programs from a folder, and write those that it compiles.

    A program is found by its content, jax's version and the options of the compilation, and by nothing that names a
    folder or a file: results are the same with and without. Where the folder cannot be written, its programs are still
    read; several processes may use one. A second call in a process changes the folder for programs compiled later.

    Args:
        folder: `AUTO` for the one that the environment variable JAX_COMPILATION_CACHE_DIR names, which is left as it
            is, or else `default_folder()`; "" for none.
    """
    # Part of the key on every device, and a path: a folder that was moved would be of no use.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "")
    # A damaged file is compiled again, a full disk is reported by other writers.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    if not folder:
        _use(None)
        return
    if folder == AUTO and os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        _use(os.environ["JAX_COMPILATION_CACHE_DIR"])
        return
    path = default_folder() if folder == AUTO else Path(folder).absolute()
    writable = _writable(path)
    if not writable:
        logging.warning("%s cannot be written: programs are compiled anew every time", path)
    elif "JAX_COMPILATION_CACHE_MAX_SIZE" not in os.environ:
        trim(path, LIMIT)
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        least = _LEAST_SECONDS if writable else float("inf")
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
    _use(str(path) if path.is_absolute() and os.path.isdir(path) else None)


def default_folder() -> Path:
    """Returns the folder of this user's programs for this kind of processor, which may be missing.

    It lies in XDG_CACHE_HOME or else ~/.cache; for a user without a home it is relative, and not used. A home is often
    shared between machines, and a program compiled for one processor may use instructions that another lacks.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~")) / ".cache"
    return base / "avsd_jax" / "compiled" / _processor()


def trim(folder: Path, limit: int) -> None:
    """Removes the programs that were not used for longest until those left take at most `limit` bytes.

    Other processes may read and remove files meanwhile.
    """
    files = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.name.endswith("-cache"):
                    stat = entry.stat()
                    files.append((max(stat.st_atime, stat.st_mtime), stat.st_size, entry.path))
    excess = sum(size for _, size, _ in files) - limit
    for _, size, path in sorted(files):
        if excess <= 0:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
        excess -= size


def _use(folder: str | None) -> None:
    if jax.config.jax_compilation_cache_dir != folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        # jax opens its folder once, when it compiles first.
        compilation_cache.reset_cache()


def _writable(folder: Path) -> bool:
    """Makes the folder if it is missing; returns whether programs can be written to it."""
    if not folder.is_absolute():
        return False
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        return shutil.disk_usage(folder).free >= _LEAST_SPACE
    except (OSError, RuntimeError):
        return False


def _processor() -> str:
    """Returns a short name of the kind of this processor, by the instructions that it has."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:12]}"
