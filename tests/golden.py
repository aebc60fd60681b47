"""Parity cases: weights and inputs drawn by their rule, and what the official code gave on them."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


def rule(shared: Path) -> ModuleType:
    """The module that draws arrays from (seed, key, shape)."""
    spec = importlib.util.spec_from_file_location("parity_weights", shared / "parity/weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def state_dict(shared: Path, case: str, seed: int) -> dict[str, np.ndarray]:
    """A checkpoint in the official layout, times the factors that its spec asks for; `case` as in "vinet/avinet"."""
    folder, name = case.split("/")
    spec = json.loads((shared / f"parity/{folder}/spec_{name}.json").read_text())
    drawn = rule(shared).state_dict(spec["state_dict"], seed)
    for pattern, factor in spec.get("config", {}).get("golden_rule", {}).get("then_multiply", ()):
        for key in filter(re.compile(pattern).search, drawn):
            drawn[key] = drawn[key] * np.float32(factor)
    return drawn


def load(shared: Path, case: str, seed: int) -> dict[str, np.ndarray]:
    """What the official code gave."""
    folder, name = case.split("/")
    with np.load(shared / f"parity/{folder}/golden_{name}_seed{seed}.npz") as archive:
        return dict(archive)


def processing(shared: Path, case: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the official code gave on drawn files, numbers and arrays; `case` as in "stavis/pipeline"."""
    folder, name = case.split("/")
    with np.load(shared / f"parity/{folder}/golden_{name}.npz") as archive:
        return json.loads((shared / f"parity/{folder}/golden_{name}.json").read_text()), dict(archive)


def drawn_input(shared: Path, name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """An input in PyTorch's layout."""
    return rule(shared).array(f"input:{name}", tuple(int(n) for n in shape), seed)


def channels_first(x: np.ndarray) -> np.ndarray:
    """[B, ..., C] -> [B, C, ...]."""
    return np.moveaxis(np.asarray(x), -1, 1)


def assert_tap(recorded: dict[str, np.ndarray], name: str, x: np.ndarray, tolerance: float = 1e-5) -> None:
    """Compares a feature [B, ..., C] with the recorded sample, relative to the feature's largest value."""
    x = channels_first(x)
    assert x.shape == tuple(recorded[f"tap:{name}:shape"])
    index = [recorded[f"tap:{name}:index{axis}"] for axis in range(x.ndim - 1)]
    limit = tolerance * np.abs(recorded[f"tap:{name}:stats"][2:]).max()
    np.testing.assert_allclose(x[0][np.ix_(*index)], recorded[f"tap:{name}:slice"], rtol=0, atol=limit)
    means = x.mean(axis=(0, *range(2, x.ndim)), dtype=np.float64)
    np.testing.assert_allclose(means, recorded[f"tap:{name}:channel_mean"], rtol=0, atol=limit)


def scaled(key: str, array: np.ndarray, rules: list[tuple[str, float]]) -> np.ndarray:
    """A drawn array times the factors of all rules whose pattern is found in its key."""
    factor = np.prod([np.float32(f) for pattern, f in rules if re.search(pattern, key)], dtype=np.float32)
    return array * factor if array.dtype == np.float32 else array
