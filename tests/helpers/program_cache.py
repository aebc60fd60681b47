"""Where compiled programs are kept between runs of the tests."""

import hashlib
import pathlib
import platform

ROOT = pathlib.Path(__file__).parents[2]


def folder() -> pathlib.Path:
    """Returns a folder that git ignores, one for each kind of processor.

    A program compiled for another processor might use instructions that this one lacks.
    """
    listed = pathlib.Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    processor = next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())
    return ROOT / ".pytest_cache/compiled" / hashlib.sha256(processor.encode()).hexdigest()[:12]
