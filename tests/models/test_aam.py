"""AAM: numbers of the same network written down in PyTorch (tests/helpers/aam_torch.py), and its checkpoints."""

import functools
import pathlib
import re

import aam_case as case
import drawn
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from config_files import CONFIGS, load
from flax import traverse_util
from ml_collections import ConfigDict
from one_vector import one_vector_step
from weight_files import safetensors

from avsd_jax import models
from avsd_jax.errors import InputError
from avsd_jax.nn.hyperbolic_decoder import SpatialOperator
from avsd_jax.nn.wav2clip import Wav2CLIP, log_power
from avsd_jax.runs.checkpoint import load_for_inference
from avsd_jax.runs.components import Components
from avsd_jax.torch_import import options, to_variables
from avsd_jax.torch_weights.conversion import convert
from avsd_jax.torch_weights.layouts import checkpoint_key, find
from avsd_jax.training.hyperparameters import hyperparameters_by_step

WEIGHTS = ("aam", "aam_distance", "aam_entailment")


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(pathlib.Path(__file__).parent / "aam_golden.npz") as archive:
        return dict(archive)


@functools.cache
def checkpoint() -> dict[str, np.ndarray]:
    """AAM's, Wav2CLIP's and a sentence's entries, as one."""
    sentence = {"text_embeddings.None": case.inputs()["text"][0]}
    return case.drawn(case.aam()) | case.drawn(case.wav2clip()) | sentence


@functools.cache
def imported() -> dict:
    return to_variables("aam", checkpoint())


def tiny(**changes):
    return models.create("aam", **(case.TINY_OPTIONS | changes))


def batch() -> dict:
    given = case.inputs()
    return {name: jnp.asarray(given[name]) for name in ("video", "audio")}


def test_maps_are_those_of_the_transcription_with_and_without_sound(recorded):
    """The gate is open in the first and the last frame alone."""
    opened = np.array([1, 0, 1])
    given = batch() | {"frame_labels": jnp.asarray(opened[None])}
    found = drawn.forward_jit(tiny(gate="labels").apply)(imported(), given)
    np.testing.assert_array_equal(found["gate"], [opened == 1])
    expected = np.where(opened[:, None, None], recorded["av_logits"], recorded["v_logits"])
    np.testing.assert_allclose(found["logits"][0], expected, atol=2e-4)
    for name in ("distance", "entailment"):
        np.testing.assert_allclose(found[f"text_{name}"][0, ::2], recorded[f"loss_aam_{name}"][::2], rtol=1e-3)
    assert np.abs(recorded["av_logits"] - recorded["v_logits"]).max() > 0.3


@pytest.mark.slow
def test_two_steps_follow_the_gradients_of_the_transcription(recorded):
    """By configuration, but for the optimiser, one of a single vector, and for what is drawn at random."""
    config = load(CONFIGS / "aam.py").get_config("paper").unlock()
    config.model.update(case.TINY_OPTIONS | {"lora_dropout": 0.0, "rope_rescale": 1.0})
    config.model.fusion_options = {"hidden": 16, "dropout": 0.0}
    config.update(optimizer="sgd", rates=(), schedule="constant", learning_rate=1.0)
    config.optimizer_options = ConfigDict()  # `update` would keep what is there
    config.frame_size = (case.SIDE, case.SIDE)
    parts = Components.from_config(config)
    variables = imported()
    # Its gradients are held to recorded ones: a quicker compilation would not go wrong unseen.
    state, step, unravel = one_vector_step(parts, variables, drawn.forward_jit)
    before = state.params
    given, numbers = batch() | {"density": case.inputs()["density"]}, hyperparameters_by_step(config, parts)
    state, metrics = step(state, given, numbers(0))
    for name in WEIGHTS:
        np.testing.assert_allclose(metrics[name], recorded[f"loss_{name}"].mean(), rtol=1e-3, atol=1e-5)
    gradients = traverse_util.flatten_dict({"params": unravel(before - state.params)})
    layout = find("aam", {})
    keys = {f"grad:{checkpoint_key(path, layout)}": path for path in gradients}
    for key in (name for name in recorded if name.startswith("grad:")):
        path, expected = keys[key], recorded[key]
        found = gradients[path]
        if path[-1] == "kernel":
            found = jnp.moveaxis(found, (-1, -2), (1, 0) if "up_conv" in path else (0, 1))
            found = jnp.flip(found, (2, 3)) if "up_conv" in path else found
        most = 2e-3 * np.abs(expected).max() + 3e-7  # what float32 leaves of differences of large numbers
        np.testing.assert_allclose(found, expected, rtol=0, atol=most, err_msg=key)
    rates = models.create("aam").defaults["rates"]
    for path, gradient in gradients.items():
        factor = next(factor for pattern, factor in rates if re.search(pattern, "/".join(path[1:])))
        assert factor or not np.any(gradient), path
    state, metrics = step(state, given, numbers(1))
    assert all(jax.tree.leaves(metrics["finite"])), metrics


@pytest.mark.parametrize("shape", [(3, 1, 3000), (1, 9000)])
def test_audio_is_of_every_frame_of_every_clip(shape):
    with pytest.raises(InputError, match=r"give it \[1, 3, S\]"):
        jax.eval_shape(tiny().apply, imported(), batch() | {"audio": jnp.zeros(shape)})


def test_sound_is_heard_as_by_wav2clip_and_almost_lost_at_the_official_scale(recorded):
    variables = {name: imported()[name]["audionet"] for name in ("params", "batch_stats")}
    waveforms = batch()["audio"].reshape(case.FRAMES, -1)
    found = drawn.forward_jit(lambda x: Wav2CLIP(32 / 512).apply(variables, log_power(x)))(waveforms)
    np.testing.assert_allclose(found, recorded["sound"], atol=2e-4)
    cells = np.asarray(log_power(2.0**-23 * waveforms))
    assert len(np.unique(cells)) < 10, "what is left of it are roundings"


def test_all_881_entries_of_the_published_file_have_a_place():
    published, layout = case.aam(case.Sizes()), find("aam", {})
    assert len(published) == 881
    wanted = traverse_util.flatten_dict(layout.variables(layout.options({}), {}))
    keys = {checkpoint_key(path, layout) for path in wanted}
    assert {key for key in keys if key.startswith(("backbone.", "head."))} <= published.keys()
    ours = sum(np.prod(x.shape) for path, x in wanted.items() if path[0] == "params" and path[1] != "audionet")
    idle = sum(np.prod(s) for key, s in published.items() if "motion_modules" in key and key.split(".")[2] in "014")
    assert round((ours + idle) / 1e6, 1) == 324.2


def test_weights_that_are_stored_twice_must_be_equal():
    twice = "backbone.blocks.1.attn.proj.base.weight"
    with pytest.raises(InputError, match="different values for .*base.weight"):
        to_variables("aam", checkpoint() | {twice: 2 * checkpoint()[twice]})
    with pytest.raises(InputError, match="does not know"):
        to_variables("aam", checkpoint() | {"head.more.weight": np.zeros(3, np.float32)})


def test_options_are_those_of_the_file():
    found = options("aam", checkpoint())
    expected = {name: value for name, value in case.TINY_OPTIONS.items() if name != "clip_size"}
    assert found == expected | {"audio_scale": "official", "prompts": ("None",), "prompt": "None"}
    alone = case.drawn(case.aam())
    assert options("aam", alone) == expected | {"audio_scale": "official", "prompts": (), "gate": "never"}
    variables = to_variables("aam", {f"module.{key}": x for key, x in alone.items()})
    assert "audionet" not in variables["params"]
    with pytest.raises(InputError, match="no 'text'"):
        jax.eval_shape(tiny(gate="never", prompts=()).apply, variables, {"video": batch()["video"]})
    with pytest.raises(InputError, match="unknown prompt 'DIEM' of aam: choose one of None"):
        jax.eval_shape(tiny(prompt="DIEM", gate="never").apply, variables, batch())


def test_single_images_pass_no_block_over_time_and_both_maps_have_all_frames():
    params = {name: part for name, part in imported()["params"].items() if not name.startswith("motion")}
    one = {"video": batch()["video"][:, :1]}
    found = jax.eval_shape(tiny(gate="never", temporal=False).apply, imported() | {"params": params}, one)
    assert found["saliency"].shape == (1, 1, case.SIDE, case.SIDE)
    found = jax.eval_shape(tiny(gate_at="output").apply, imported(), batch())
    assert found["saliency_v"].shape == found["saliency_av"].shape == found["saliency"].shape


def test_files_are_joined(tmp_path: pathlib.Path):
    files = {
        "aam": case.drawn(case.aam()),
        "wav2clip": {f"state_dict.{key}": x for key, x in case.drawn(case.wav2clip()).items()},
        "text": {f"text_embeddings.{name}": np.full(12, i, np.float32) for i, name in enumerate(("None", "DIEM"))},
    }
    paths = {name: tmp_path / f"{name}.safetensors" for name in files}
    for name, arrays in files.items():
        paths[name].write_bytes(safetensors(arrays))
    convert("aam", paths["aam"], tmp_path / "out", add=[paths["wav2clip"], paths["text"]])
    config, variables = load_for_inference(tmp_path / "out")
    assert (config.model.gate, config.model.audio_scale, config.preprocessing) == ("always", "official", "aam")
    assert list(config.model.prompts) == ["DIEM", "None"]
    assert variables["batch_stats"]["text"]["DIEM"][0] == 1
    assert jax.tree.all(jax.tree.map(np.array_equal, variables["params"], imported()["params"]))
    with pytest.raises(InputError, match="holds nothing that belongs to aam"):
        convert("aam", paths["aam"], tmp_path / "no", add=[paths["aam"]])
    with pytest.raises(InputError, match="holds nothing that belongs to dinov3"):
        convert("dinov3", paths["aam"], tmp_path / "no", add=[paths["text"]])


def test_dinov3_is_the_trunk_of_aam():
    sizes = case.TINY._replace(rank=0)
    own = case.drawn(case.backbone(sizes))
    variables, found = to_variables("dinov3", own), options("dinov3", own)
    assert found == {"features": 32, "depth": 4, "heads": 2}
    model, video = models.create("dinov3", **found), batch()["video"][:, :1]
    levels = drawn.forward_jit(model.apply)(variables, {"video": video})
    assert {name: x.shape for name, x in levels.items()} == {f"level{i}": (1, 1, 4, 4, 32) for i in (1, 2, 3, 4)}
    trunk = imported()["params"]["backbone"]
    wanted, given = drawn.flat_shapes(trunk), drawn.flat_shapes(variables["params"])
    assert {path: shape for path, shape in wanted.items() if "lora" not in path} == given
    with pytest.raises(InputError, match="multiples of 16"):
        jax.eval_shape(model.apply, variables, {"video": video[:, :, :40]})


def test_without_its_quirks_the_operator_treats_height_and_width_alike():
    x, point, weights = drawn.normal(0, 1, 16, 16, 4), drawn.normal(1, 1, 8), jnp.ones((1, 3))
    shapes = drawn.shapes(SpatialOperator(), x, point, weights)
    variables = drawn.variables(shapes)
    variables["params"]["map"] = {"curv": jnp.zeros(()), "alpha": jnp.zeros(())}
    turned = jax.tree.map_with_path(lambda path, k: k.swapaxes(0, 1) if k.ndim == 4 else k, variables)
    for column, width in ((False, False), (True, False), (False, True)):
        operator = drawn.forward_jit(SpatialOperator(column, width).apply)
        one = operator(variables, 6 * x, point, weights)
        other = operator(turned, 6 * x.swapaxes(1, 2), point, weights).swapaxes(1, 2)
        assert np.allclose(one, other, atol=1e-3) == (not column and not width)
