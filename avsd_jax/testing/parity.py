"""Recorded parity cases: weights and inputs drawn by their rule, and the output of the official code."""

import importlib.util
import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Int


def rule(shared: Path) -> ModuleType:
    """Loads the module that draws arrays from (seed, key, shape)."""
    spec = importlib.util.spec_from_file_location("parity_weights", shared / "parity/weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def state_dict(shared: Path, case: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Draws a checkpoint in the official layout, times the factors of its spec; `case` as in "vinet/avinet"."""
    folder, name = case.split("/")
    spec = json.loads((shared / f"parity/{folder}/spec_{name}.json").read_text())
    drawn = rule(shared).state_dict(spec["state_dict"], seed)
    for pattern, factor in spec.get("config", {}).get("golden_rule", {}).get("then_multiply", ()):
        for key in filter(re.compile(pattern).search, drawn):
            drawn[key] = drawn[key] * np.float32(factor)
    return drawn


def stavis_state_dict(shared: Path, seed: int = 0) -> dict[str, np.ndarray]:
    """Draws STAViS's checkpoint, scaled as in its recipe; keys as in the files."""
    rules = json.loads((shared / "parity/stavis/parity_recipe.json").read_text())["scale_rules"]
    drawn = state_dict(shared, "stavis/audiovisual", seed)
    return {f"module.{key}": scaled(key, array, rules) for key, array in drawn.items()}


def scaled(key: str, array: np.ndarray, rules: Sequence[Sequence[str | float]]) -> np.ndarray:
    """Multiplies a drawn array by the factors of all rules whose pattern is found in its key."""
    factor = np.prod([np.float32(f) for pattern, f in rules if re.search(pattern, key)], dtype=np.float32)
    return array * factor if array.dtype == np.float32 else array


def load(shared: Path, case: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Loads the recorded output of the official code."""
    folder, name = case.split("/")
    with np.load(shared / f"parity/{folder}/golden_{name}_seed{seed}.npz") as archive:
        return dict(archive)


def drawn_input(
    shared: Path, name: str, shape: tuple[int, ...] | Int[np.ndarray, " axes"], seed: int = 0
) -> np.ndarray:
    """Draws an input in PyTorch's layout; `shape` may be the array that a case recorded."""
    return rule(shared).array(f"input:{name}", tuple(int(n) for n in shape), seed)
