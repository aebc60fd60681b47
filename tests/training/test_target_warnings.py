"""A run with uninformative targets warns once."""

import dataclasses
import re

import numpy as np
import pytest
from absl import logging

from avsd_jax import models
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.schema import VideoIndex
from avsd_jax.data.store import VideoStore
from avsd_jax.training.target_warnings import DensityWatch, warn_of_labels


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: lines.append(text % values))
    return lines


def store(*label_runs: tuple) -> VideoStore:
    entry = {"id": "clip", "fps": 25.0, "num_frames": 8, "num_samples": 0, "sample_rate": 16000, "tags": []}
    entry |= dict.fromkeys(("height", "width", "map_height", "map_width"), 8)
    entry |= {"num_viewers": 1, "audio_rms": 0.0, "audio_first": [0]}
    videos = [VideoIndex.from_json(entry | {"label_runs": runs}) for runs in label_runs]
    return VideoStore("diem train", [], videos, 32)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("avinet", {"gate": "labels"}, "diem train: no frame has a label .* every clip is left to vision alone"),
        ("avinet", {"gate": "classifier", "train_gate": "labels"}, "left to vision alone"),
        ("avinet", {"gate": "classifier"}, "the classifier is not trained"),
        ("avc", {}, "the classifier is not trained"),
        ("avinet", {"gate": "always"}, None),
        ("vinet", {}, None),
    ],
)
def test_labels_that_are_all_unknown(said: list[str], name: str, options: dict, words: str | None) -> None:
    network, spec = models.create(name, **options), ClipSpec(8, (32, 32))
    warn_of_labels(network, spec, store([(0, -1)], [(0, -1), (4, 0)]))
    warn_of_labels(network, dataclasses.replace(spec, avc_supervision="weak"), store([(0, -1)]))
    assert said == []
    warn_of_labels(network, spec, store([(0, -1)], [(0, -1)]))
    assert len(said) == (words is not None)
    assert words is None or re.search(words, said[0])


def watch(densities: list[float], metrics: dict, clips: int = 8) -> None:
    watched = DensityWatch("diem train")
    for step, value in enumerate(densities, start=1):
        watched.add({"density": np.full((clips, 2, 2), value)}, metrics, last=step == len(densities))


def test_densities_that_are_zero_everywhere(said: list[str]) -> None:
    watch([0, 0, 0.5] + [0] * 50, {"kl": 1.0})
    watch([0] * 50, {"ce": 1.0})
    assert said == []
    watch([0] * 50, {"kl": 0.0})
    assert len(said) == 1
    assert "the density of all 104 clips so far is zero everywhere" in said[0]
    watch([0] * 2, {"bce": 0.0})
    assert "all 16 clips" in said[1]
