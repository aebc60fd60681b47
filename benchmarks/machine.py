"""The record of what computed a benchmark: machine, versions, commit and date."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "pysaliency")
# Settings that change what is compiled or how many cores compute.
SWITCHES = ("XLA_FLAGS", "OMP_NUM_THREADS", "JAX_DEFAULT_MATMUL_PRECISION")


def record() -> dict[str, Any]:
    """Returns names and sizes of processor, device and memory, versions, commit (if it is a checkout) and date."""
    device = jax.devices()[0]
    found = {
        "device": device.platform,
        "processor": _processor(),
        "cores": _cores(),
        "memory_gb": round(_memory() / 1e9, 1),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "switches": {name: os.environ[name] for name in SWITCHES if os.environ.get(name)},
    }
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        found["accelerator"] = device.device_kind
        found["accelerator_memory_gb"] = round(stats.get("bytes_limit", 0) / 1e9, 1)
    return found


def same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Returns whether two records are of the same machine and versions, whatever commit and date."""
    return {**a, "commit": "", "date": ""} == {**b, "commit": "", "date": ""}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> int:
    if sys.platform == "win32" or "SC_PHYS_PAGES" not in os.sysconf_names:
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        found = subprocess.run(git, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return found.stdout.strip()
