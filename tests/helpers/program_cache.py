"""How programs are compiled in tests, and where they are kept between runs."""

import hashlib
import pathlib
import platform

ROOT = pathlib.Path(__file__).parents[2]

# Tiny networks run in no time, and it is their optimisation that takes seconds.
QUICK_OPTIONS = {
    "xla_backend_optimization_level": 1,
    "xla_llvm_disable_expensive_passes": True,
}
# The same as XLA_FLAGS.
QUICK = " ".join(f"--{name}={str(value).lower()}" for name, value in QUICK_OPTIONS.items())
# Four times as fast, and for outputs alone: gradients are wrong, AVID's by 70 % of their norm (jax 0.10, CPU).
FORWARD_OPTIONS = QUICK_OPTIONS | {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
# What users get, for the tests of laws and of whole networks.
OPTIMISED_OPTIONS = {
    "xla_backend_optimization_level": 3,
    "xla_llvm_disable_expensive_passes": False,
}


def folder() -> pathlib.Path:
    """Returns a folder that git ignores, one for each kind of processor.

    A program compiled for another processor might use instructions that this one lacks.
    """
    listed = pathlib.Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    processor = next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())
    return ROOT / ".pytest_cache/compiled" / hashlib.sha256(processor.encode()).hexdigest()[:12]
