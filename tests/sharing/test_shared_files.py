"""Safetensors are read wherever a checkpoint is: bit for bit, in any precision, in one file or several, or refused."""

import json
from pathlib import Path

import drawn
import hub_server
import jax
import ml_dtypes
import numpy as np
import pytest
from ml_collections import ConfigDict
from safetensors.numpy import load_file, save_file
from tiny_run import add_extra_models, tiny_config

from avsd_jax import calibrate
from avsd_jax.batch import zeros
from avsd_jax.common import hub
from avsd_jax.config.base import completed
from avsd_jax.errors import InputError
from avsd_jax.prediction.consistency import ConsistencyScorer
from avsd_jax.runs import weights_file
from avsd_jax.runs.checkpoint import load_for_inference, load_newest, read_config, save_variables, write_config
from avsd_jax.runs.components import Components, Inference
from avsd_jax.runs.initial import initial_variables, starting_folders
from avsd_jax.runs.origin import imported_from
from avsd_jax.runs.revisions import with_commits
from avsd_jax.runs.run_folder import check_can_continue, check_same_run

L3NET = {"classifier": "l3net", "classifier_options": {"width": 0.0625, "frame_size": 32, "sample_rate": 8000}}


def gated() -> ConfigDict:
    add_extra_models()
    clip = {"frame_size": [16, 24], "frame_step": 1, "sampler": "vinet", "preprocessing": "vinet"}
    options = L3NET | {"clip_size": 4, "gate": "classifier"}
    return ConfigDict({"model_name": "tiny_streams", "model": options, "samples_per_video": 1} | clip).to_dict()


def weights() -> dict:
    parts = Inference.from_config(completed(ConfigDict(gated())))
    return jax.tree.map(np.asarray, drawn.variables(drawn.shapes(parts.model, zeros(parts.spec))))


def kept_of(variables: dict) -> weights_file.Kept:
    return weights_file.kept(completed(ConfigDict(gated())), variables, "here")


@pytest.fixture(scope="module")
def variables() -> dict:
    return weights()


@pytest.fixture
def shared(tmp_path: Path, variables: dict) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    write_config(folder, gated())
    weights_file.write(folder, kept_of(variables), 7)
    return folder


def test_a_shared_model_is_the_model_of_the_run(tmp_path: Path, variables: dict, shared: Path):
    save_variables(tmp_path / "run", gated(), variables)
    expected = load_for_inference(tmp_path / "run")
    config, found, step = load_newest(shared)
    assert (config, step) == (expected[0], 7)
    jax.tree.map(np.testing.assert_array_equal, found, expected[1])
    assert ConsistencyScorer(shared)._classifier.model == ConsistencyScorer(tmp_path / "run")._classifier.model
    before = (shared / "model.safetensors").read_bytes()
    assert b'{"__metadata__":{"avsd_jax":"' in before[:200]
    weights_file.write(shared, kept_of(variables), 7)
    assert (shared / "model.safetensors").read_bytes() == before
    assert len({path.stat().st_mode for path in shared.iterdir()}) == 1, "whoever reads one file reads all"


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_weights_of_other_precisions_are_those_of_the_model(shared: Path, variables: dict, dtype):
    flat = {key: value.astype(dtype) for key, value in weights_file.flattened(variables).items()}
    save_file(flat, shared / "model.safetensors")
    _, found, step = load_newest(shared)
    assert step == 0
    for key, value in weights_file.flattened(found).items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, flat[key].astype(np.float32))


def test_weights_in_several_files(shared: Path, variables: dict):
    (shared / "model.safetensors").unlink()
    names = weights_file.write(shared, kept_of(variables), 7, max_bytes=20_000)
    assert len(names) > 2
    _, found, step = load_newest(shared)
    assert step == 7
    jax.tree.map(np.testing.assert_array_equal, found, variables)

    def refusal() -> str:
        with pytest.raises(InputError) as caught:
            load_newest(shared)
        return str(caught.value)

    index = json.loads((shared / hub.INDEX).read_text())
    first = names[0]
    (shared / first).rename(shared / "aside")
    assert f"lacks {first}, which model.safetensors.index.json names" in refusal()
    (shared / "aside").rename(shared / first)
    for key, place, message in (
        (next(iter(index["weight_map"])), names[1], "which model.safetensors.index.json says is in it"),
        ("x", "../model-1-of-1.safetensors", "files of weights are model-00001-of-00002"),
        ("x", 3, "names 3"),
    ):
        changed = index | {"weight_map": index["weight_map"] | {key: place}}
        (shared / hub.INDEX).write_text(json.dumps(changed))
        assert message in refusal()
    (shared / hub.INDEX).write_text("[]")
    assert "is damaged" in refusal()


def _other(change: str, flat: dict) -> dict:
    key = "params/draw/kernel"
    if change == "missing":
        return {name: value for name, value in flat.items() if name != key}
    if change == "extra":
        return flat | {"params/more/kernel": np.ones(2, np.float32)}
    if change == "shape":
        return flat | {key: flat[key][..., None]}
    if change == "type":
        return flat | {key: flat[key].astype(np.int32)}
    return flat | {key: np.full_like(flat[key], np.nan)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "lacks params/draw/kernel of tiny_streams as config.json has it"),
        ("extra", "has params/more/kernel, which tiny_streams has not as config.json has it"),
        ("shape", r"params/draw/kernel is \[3, 3, 4, 1, 1\] there and \[3, 3, 4, 1\] in tiny_streams"),
        ("type", "params/draw/kernel is int32 there and float32 in the model"),
        ("nan", "params/draw/kernel holds values that are not finite"),
    ],
)
def test_other_weights_are_named(shared: Path, change: str, message: str):
    path = shared / "model.safetensors"
    save_file(_other(change, load_file(path)), path)
    with pytest.raises(InputError, match=message):
        load_for_inference(shared)


def test_an_encoder_without_its_head_starts_others(shared: Path, variables: dict):
    params = {name: part for name, part in variables["params"].items() if name != "draw"}
    kept = kept_of({**variables, "params": params, "left": {"x": np.ones(1)}})
    assert kept.missing == ("params/draw/bias", "params/draw/kernel")
    assert kept.left_out == ("left/x",)
    weights_file.write(shared, kept, 0)
    assert load_for_inference(shared)[1]["params"].keys() == params.keys()
    with pytest.raises(InputError, match="here has no weights of tiny_streams"):
        kept_of({"params": {}})


def test_folders_of_a_strangers_machine_are_not_looked_at(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    record = gated() | {"init": "hf://me/model", "init_parts": {"classifier": str(shared)}, "data_dir": "/data"}
    write_config(shared, record)
    with hub_server.served(monkeypatch, tmp_path / "cache") as server:
        server.add_folder("me/model", shared)
        config = read_config("hf://me/model")
    assert (config.init, dict(config.init_parts), config.data_dir) == ("hf://me/model", {}, "data")
    assert read_config(shared).data_dir == "/data"


def test_damaged_weights_and_records_are_named(shared: Path):
    path = shared / "model.safetensors"
    whole = path.read_bytes()
    for size in (5, 300, len(whole) - 4):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="damaged or incomplete safetensors file .*: download it again"):
            load_for_inference(shared)
    path.write_bytes(whole)
    options = gated()["model"]
    for record, message in (
        ({"model_type": "bert"}, "no model_name"),
        ({"model_name": "../x"}, "unknown model"),
        (gated() | {"model": options | {"parent": "x"}}, "model.parent is no option of a model"),
        (
            gated() | {"model": options | {"classifier_options": {"name": "x"}}},
            "model.classifier_options.name is no option of a model",
        ),
    ):
        (shared / "config.json").write_text(json.dumps(record))
        with pytest.raises(InputError, match=message):
            load_for_inference(shared)


def test_a_run_starts_from_a_shared_model_and_never_trains_into_it(shared: Path, variables: dict, tiny_data_dir: Path):
    config = tiny_config(tiny_data_dir, model_name="tiny_streams", model=ConfigDict(gated()["model"]))
    config = config.copy_and_resolve_references().unlock()
    config.update(frame_size=(16, 24), init=str(shared))
    started = initial_variables(config, Components.from_config(config))
    jax.tree.map(np.testing.assert_array_equal, started, variables)
    with pytest.raises(InputError, match="is a shared model: start from it by --config.init="):
        check_can_continue(config, shared)


def test_a_calibration_is_written_beside_a_copy(shared: Path, tiny_data_dir: Path, tmp_path: Path, capsys):
    options = ["--dataset=sounding_shapes/tiny", "--split=train", f"--data_dir={tiny_data_dir}", "--every=2"]
    copy = tmp_path / "copy"
    assert calibrate.main([f"--checkpoint={shared}", f"--out={copy}", *options]) == 0
    assert sorted(path.name for path in shared.iterdir()) == ["config.json", "model.safetensors"]
    found = load_for_inference(copy)[1].pop("calibration")["classifier"]["temperature"]
    assert found == np.float32(json.loads((copy / "calibration.json").read_text())["temperature"])
    assert calibrate.main(["--checkpoint=hf://me/model", *options]) == 2
    assert "is on a hub: give --out=DIR" in capsys.readouterr().err


def test_a_run_keeps_the_commit_that_it_began_with(
    shared: Path, variables: dict, tiny_data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = tiny_config(tiny_data_dir, model_name="tiny_streams", model=ConfigDict(gated()["model"]))
    config = config.copy_and_resolve_references().unlock()
    config.update(frame_size=(16, 24), init="hf://me/model", init_parts=ConfigDict({"classifier": "hf://me/model@v1"}))
    config.rows = ("one", "two")
    workdir = tmp_path / "work"
    with hub_server.served(monkeypatch, tmp_path / "cache") as server:
        write_config(shared, gated() | {"source": "AViNet.pt"})
        first = server.add_folder("me/model", shared)
        server.repos["me/model"].branches["v1"] = first
        assert with_commits(config, workdir, look_up=False).revisions == ()
        begun = with_commits(config, workdir)
        assert begun.revisions == (("hf://me/model", first), ("hf://me/model@v1", first))
        write_config(workdir / "one", begun)
        # The branches move on: what resumes, and its later rows, start from the same weights.
        weights_file.write(shared, kept_of(jax.tree.map(lambda x: 2 * x, variables)), 8)
        second = server.add_folder("me/model", shared)
        server.repos["me/model"].branches["v1"] = second
        server.asked.clear()
        resumed = with_commits(config, workdir)
        assert resumed.revisions == begun.revisions
        assert starting_folders(resumed)[""] == f"hf://me/model@{first}"
        started = initial_variables(resumed, Components.from_config(resumed))
        jax.tree.map(np.testing.assert_array_equal, started, variables)
        check_same_run(resumed, workdir / "one")
        assert imported_from(resumed) == "AViNet.pt"
        assert not server.asked
        assert with_commits(config, tmp_path / "another").revisions[0] == ("hf://me/model", second)
        config.init = "hf://me/nothing"
        with pytest.raises(InputError, match="^init: http.* has no model me/nothing"):
            with_commits(config, workdir)
