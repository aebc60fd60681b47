"""`python -m avsd_jax.calibrate`: the videos that it may use, and where the temperature then is."""

import json
import shutil
from pathlib import Path

import drawn
import jax
import numpy as np
import pytest
from tiny_run import add_extra_models, tiny_config

from avsd_jax import calibrate, models
from avsd_jax.batch import zeros
from avsd_jax.data.catalog import open_store
from avsd_jax.data.consistency_grid import scored_frame
from avsd_jax.errors import InputError
from avsd_jax.prediction.consistency import ConsistencyScorer
from avsd_jax.runs import temperature
from avsd_jax.runs.checkpoint import Checkpointer, load_for_inference, save_variables, write_config
from avsd_jax.runs.classifier import Classifier
from avsd_jax.runs.components import Inference
from avsd_jax.runs.stores import calibration_store, training_store
from avsd_jax.scoring.calibrate_run import Videos, calibrate_run
from avsd_jax.scoring.calibration import calibrate as fit
from avsd_jax.scoring.consistency import Grid

OPTIONS = {"width": 0.0625, "frame_size": 32, "sample_rate": 8000}
MODEL = {"classifier": "l3net", "classifier_options": OPTIONS, "clip_size": 4, "gate": "classifier"}


def config_of(data_dir: Path, **changes: object):
    add_extra_models()
    return tiny_config(data_dir, model_name="tiny_streams", model=MODEL, **changes)


@pytest.fixture(scope="module")
def variables(tiny_data_dir: Path) -> dict:
    parts = Inference.from_config(config_of(tiny_data_dir))
    return drawn.variables(drawn.shapes(parts.model, zeros(parts.spec)))


def trained(folder: Path, config, variables: dict, step: int) -> Path:
    """A run at a step."""
    write_config(folder, config)
    checkpointer = Checkpointer(folder)
    checkpointer.save(step, {"variables": variables})
    checkpointer.close()
    return folder


def test_a_run_is_calibrated_on_what_it_held_out(tmp_path: Path, tiny_data_dir: Path, variables: dict, capsys):
    config = config_of(tiny_data_dir, calibration_share=0.3)
    run = trained(tmp_path / "run", config, variables, 7)
    assert calibrate.main([f"--checkpoint={run}", "--every=0.5"]) == 0
    record = json.loads((run / "calibration.json").read_text())
    assert capsys.readouterr().out.startswith(f"temperature {record['temperature']:.3g} from {record['frames']} frames")
    assert (record["step"], record["split"], record["every"]) == (7, "train, held out", 0.5)
    assert record["ece_after"] < record["ece_before"]
    # The same by hand.
    store, classifier = calibration_store(config), Classifier.of(Inference.from_config(config).model, variables)
    where = [
        (v, f)
        for v, video in enumerate(store.videos)
        for f in range(video.num_frames)
        if scored_frame(f, video.fps, 0.5) == f and store.avc_label(v)[f] >= 0
    ]
    logits = Grid.of(classifier, store, 0.0, where, batch_size=8).at(*zip(*where, strict=True))
    labels = np.array([store.avc_label(v)[f] for v, f in where])
    assert record["frames"] == len(where)
    assert record["temperature"] == pytest.approx(fit(logits, labels), rel=1e-3)
    # It is where inference looks for it, and belongs to one step.
    _, loaded = load_for_inference(run)
    assert Classifier.of(Inference.from_config(config).model, loaded).temperature == np.float32(record["temperature"])
    assert ConsistencyScorer(run)._classifier.temperature == np.float32(record["temperature"])
    later = trained(tmp_path / "later", config, variables, 9)
    shutil.copy(run / "calibration.json", later)
    assert "calibration" not in load_for_inference(later)[1]
    (run / "calibration.json").write_text('{"temperature": 0, "step": 7}')
    with pytest.raises(InputError, match=r"calibration.json is damaged .*: remove it, or calibrate again"):
        load_for_inference(run)


def test_what_is_held_out_is_not_trained_on(tiny_data_dir: Path):
    config = config_of(tiny_data_dir, calibration_share=0.3)
    every = {video.id for video in open_store(config.dataset, config.train_split, tiny_data_dir).videos}
    kept, held = ({video.id for video in store(config).videos} for store in (training_store, calibration_store))
    assert kept | held == every
    assert not kept & held
    assert len(held) == max(1, round(0.3 * len(every)))
    assert {video.id for video in training_store(config_of(tiny_data_dir)).videos} == every
    with pytest.raises(InputError, match="leaves no video of .* to train on: give a smaller one"):
        training_store(config_of(tiny_data_dir, calibration_share=0.99))


def test_test_videos_and_trained_ones_are_refused(
    tmp_path: Path, tiny_data_dir: Path, variables: dict, monkeypatch: pytest.MonkeyPatch
):
    config = config_of(tiny_data_dir)
    run = trained(tmp_path / "run", config, variables, 7)
    with pytest.raises(InputError, match="held out no videos .*calibration_share=0.: give --split=NAME"):
        calibrate_run(run)
    with pytest.raises(InputError, match="is the test split of this run: give --split=NAME"):
        calibrate_run(run, Videos(split=config.test_split))
    train = open_store(config.dataset, config.train_split, tiny_data_dir)
    with monkeypatch.context() as patch:
        patch.setattr("avsd_jax.scoring.calibrate_run.open_store", lambda *_: train)
        with pytest.raises(InputError, match=r"of the \d+ videos of .* are in test, the test split of this run"):
            calibrate_run(run, Videos(split="another_fold"))
    converted = tmp_path / "converted"
    save_variables(converted, config_of(tiny_data_dir), variables)
    assert calibrate_run(converted, every=1.0)["split"] == "train"
    plain = tmp_path / "plain"
    ungated = config_of(tiny_data_dir).unlock()
    ungated.model.gate = "always"
    save_variables(plain, ungated, {"params": {"x": np.ones(1)}})
    with pytest.raises(InputError, match="has no classifier of audio-visual consistency"):
        calibrate_run(plain)
    assert not (plain / "calibration.json").exists()


def test_a_classifier_alone_has_its_temperature_at_the_top(tmp_path: Path):
    temperature.write(tmp_path, {"temperature": 2.5, "step": 3})
    given = {"params": {"fc": {"kernel": np.ones(1)}}}
    own, found = temperature.split(temperature.joined(tmp_path, 3, given))
    assert found == 2.5
    assert jax.tree.all(jax.tree.map(np.array_equal, own, given))
    # So has one without weights in a model that it gates.
    gated = models.create("avinet", gate="classifier", classifier="correlation")
    assert Classifier.of(gated, temperature.joined(tmp_path, 3, given)).temperature == 2.5
