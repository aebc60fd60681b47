"""AAM: numbers of the same network written down in PyTorch (tests/helpers/aam_torch.py), and its checkpoints."""

import functools
import pathlib

import aam_case as case
import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avsd_jax import losses, models
from avsd_jax.errors import InputError
from avsd_jax.torch_import import options, to_variables

WEIGHTS = {"aam": 1.0, "aam_distance": 0.4, "aam_entailment": 1.0}


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(pathlib.Path(__file__).parent / "aam_golden.npz") as archive:
        return dict(archive)


@functools.cache
def imported() -> dict:
    """The drawn checkpoint of AAM and of Wav2CLIP, as one."""
    whole = case.drawn(case.aam()) | case.drawn(case.wav2clip())
    whole["text_embeddings.None"] = case.inputs()["text"][0]
    return to_variables("aam", whole)


def tiny(**changes):
    return models.create("aam", **(case.TINY_OPTIONS | changes))


def batch() -> dict:
    given = case.inputs()
    return {name: jnp.asarray(given[name]) for name in ("video", "audio")}


@functools.cache
def gated() -> dict:
    """Outputs with the gate open for the first and the last frame, and gradients of the loss with it open."""
    given = batch() | {"frame_labels": jnp.asarray([[1, 0, 1]])}
    return drawn.forward_jit(tiny(gate="labels").apply)(imported(), given)


def test_maps_are_those_of_the_transcription(recorded):
    found, opened = gated(), np.array([1, 0, 1])
    np.testing.assert_array_equal(found["gate"], [opened == 1])
    expected = np.where(opened[:, None, None], recorded["av_logits"], recorded["v_logits"])
    np.testing.assert_allclose(found["logits"][0], expected, atol=2e-4)
    for name in ("text", "anchor"):
        np.testing.assert_allclose(found[f"{name}_point"][0], recorded[f"av_{name}"], rtol=1e-4)
    np.testing.assert_allclose(found["image_point"][0, ::2], recorded["av_image"][::2], rtol=1e-3)
