"""How programs are compiled where a test says nothing else, and where they are kept between runs of the tests."""

import hashlib
import importlib.metadata
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


def quick_flags() -> str:
    """Returns XLA's flags for a quick compilation with the same results: tests run small networks.

    Level 0 would be quicker, but has wrong gradients of convolutions (see `drawn.FORWARD_COMPILE`). Processes that
    tests start with `XLA_FLAGS` of their own are compiled as a user's are.
    """
    flags = "--xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true"
    # A process ends at a flag that its XLA does not know.
    known = importlib.metadata.version("jaxlib").startswith("0.10.")
    return f"{flags} --xla_cpu_use_fusion_emitters=false" if known else flags
