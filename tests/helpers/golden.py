"""Parity cases: weights and inputs drawn by their rule, and what the official code gave on them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from avsd_jax.testing.parity import drawn_input, load, rule, scaled, state_dict, stavis_state_dict

__all__ = [
    "assert_tap",
    "channels_first",
    "drawn_input",
    "load",
    "processing",
    "rule",
    "scaled",
    "state_dict",
    "stavis_state_dict",
]


def processing(shared: Path, case: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the official code gave on drawn files, numbers and arrays; `case` as in "stavis/pipeline"."""
    folder, name = case.split("/")
    with np.load(shared / f"parity/{folder}/golden_{name}.npz") as archive:
        return json.loads((shared / f"parity/{folder}/golden_{name}.json").read_text()), dict(archive)


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


def stavis_inputs(shared, seed: int, batch: int = 2, size=(112, 112)) -> dict[str, np.ndarray]:
    video = drawn_input(shared, "video", (batch, 3, 16, *size), seed)
    audio = drawn_input(shared, "audio", (batch, 1, 1, 35280), seed)
    return {"video": video.transpose(0, 2, 3, 4, 1), "audio": audio[:, 0, 0]}
