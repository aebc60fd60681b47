"""The step between two stages of weak supervision: the maps of models become the targets of the next training."""

import json

import jax
import numpy as np
import pytest
from tiny_run import add_extra_models, tiny_config

from avsd_jax import pseudo_labels
from avsd_jax.batch import model_inputs
from avsd_jax.common.parallel import make_mesh
from avsd_jax.config.base import base
from avsd_jax.data import catalog, pipeline, target_maps
from avsd_jax.errors import InputError
from avsd_jax.prediction import pseudo_labels as written
from avsd_jax.runs.checkpoint import load_model, save_variables
from avsd_jax.runs.components import Inference, make_forward
from avsd_jax.training import loop


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_data_dir):
    """A model of two steps."""
    add_extra_models()
    folder = tmp_path_factory.mktemp("stage") / "run"
    config = tiny_config(tiny_data_dir, total_steps=2, batch_size=2, checkpoint_every=2, log_every=2)
    loop.train(config, folder, mesh=make_mesh(jax.devices()[:1]))
    return config, folder


def test_maps_of_a_run_are_read_as_targets(tmp_path, run, capsys):
    config, folder = run
    out = tmp_path / "maps"
    arguments = [f"--checkpoint={folder},{folder}", f"--out={out}", "--stride=20", "--batch_size=4"]
    assert pseudo_labels.main(arguments) == 0
    store = catalog.open_store(config.dataset, config.train_split, config.data_dir)
    spec = Inference.from_config(config).spec
    wanted = pipeline.eval_targets(store, spec, 20)
    assert capsys.readouterr().out == f"{len(wanted)} maps in {out}\n"
    record = json.loads((out / "maps.json").read_text())
    assert record == {"dataset": config.dataset, "split": config.train_split, "models": ["run"], "stride": 20} | {
        "maps": len(wanted)
    }
    targets = target_maps.replace_density(store, out)
    video, frame = wanted[0]
    saved = targets.density(video, frame)
    assert not targets.density(video, frame + 1).any()
    model, variables = load_model(folder)
    batch = next(pipeline.eval_batches(store, spec, batch_size=4, stride=20))
    saliency = make_forward(model)(variables, model_inputs(batch))["saliency"]
    np.testing.assert_allclose(saved, 255 * np.asarray(saliency[0]), atol=0.51)
    assert np.ptp(saved) > 0
    assert pseudo_labels.main(arguments) == 2
    assert "holds maps already" in capsys.readouterr().err


def test_what_is_missing_is_named(tmp_path, run, capsys):
    for arguments, message in (
        ([], "no model is given whose maps become targets"),
        (["--checkpoint=nowhere"], "nowhere"),
        ([f"--checkpoint={run[1]}", "--split=late"], "has no split 'late'"),
    ):
        assert pseudo_labels.main([*arguments, f"--out={tmp_path / 'maps'}"]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (tmp_path / "maps").exists()


def test_models_of_sequences_are_refused(tmp_path, tiny_data_dir):
    config = base("aclnet")
    config.update(dataset="sounding_shapes/tiny", data_dir=str(tiny_data_dir), train_split="train")
    save_variables(tmp_path / "aclnet", config, {"params": {"x": np.ones(1)}})
    with pytest.raises(InputError, match="aclnet maps every frame of a clip"):
        written.write([tmp_path / "aclnet"], tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


def test_maps_of_several_sizes_are_averaged():
    mean = written._mean([np.full((2, 4), 0.2, np.float32), np.full((6, 3), 0.6, np.float32)])
    np.testing.assert_array_equal(mean, np.full((2, 4), 102, np.uint8))
