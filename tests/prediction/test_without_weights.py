"""Models without weights from a file to maps: no training, no checkpoint, the aspect ratio of the video."""

import json
import pathlib

import numpy as np
import pytest
from config_files import CONFIGS, load
from media_files import regular, write_video
from ml_collections import ConfigDict

from avsd_jax import Predictor, models, predict
from avsd_jax.config.base import base
from avsd_jax.errors import InputError
from avsd_jax.experiment.run import run
from avsd_jax.media.reading import probe
from avsd_jax.runs.components import Inference


def maps_of(out: pathlib.Path) -> np.ndarray:
    return np.concatenate([np.load(path)["saliency"] for path in sorted((out / "maps").glob("*.npz"))])


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Nine frames of 64x96, the size of the tiny dataset, with audio."""
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", regular(9), size=(64, 96))


def test_a_video_is_predicted_without_a_checkpoint(
    video: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert predict.main([str(video), f"--out={out}", "--maps=npz"]) == 0
    told = capsys.readouterr()
    assert told.out == f"9 frames by gbvs_av: {out / 'clip_overlay.mp4'}\n"
    record = json.loads((out / "timeline.json").read_text())
    assert (record["model"], record["checkpoint"], record["num_frames"]) == ("gbvs_av", None, 9)
    assert all(0 <= row["avc_probability"] <= 1 for row in record["frames"])
    assert maps_of(out).shape == (9, 64, 96)


@pytest.mark.slow
def test_a_scored_model_is_a_model_folder(
    video: pathlib.Path, tiny_data_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The demo's rows, on the tiny dataset: scored without training, and a row predicts what its name does."""
    config = load(CONFIGS / "baselines.py").get_config("demo").unlock()
    config.update(dataset="sounding_shapes/tiny", data_dir=str(tiny_data_dir), build_data=False, frame_size=(64, 96))
    config.update(rows=("gbvs", "av_star"), eval_stride=8, eval_batch_size=4, audit=False)
    record = run(config, tmp_path / "run")
    assert [row["label"] for row in record["rows"]] == ["GBVS", "AV*"]
    scores = [row["conditions"]["real"]["scores"]["all"]["CC"] for row in record["rows"]]
    assert all(np.isfinite(scores))
    again = run(config, tmp_path / "run", "eval")
    assert [row["conditions"]["real"]["scores"]["all"]["CC"] for row in again["rows"]] == scores
    folder = tmp_path / "run" / "av_star"
    assert not (folder / "checkpoints").exists()
    options = {"maps": "npz", "progress": False}
    Predictor(folder).run(video, tmp_path / "folder", **options)
    Predictor(model="gbvs_av").run(video, tmp_path / "name", **options)
    np.testing.assert_array_equal(maps_of(tmp_path / "folder"), maps_of(tmp_path / "name"))
    with pytest.raises(InputError, match="gbvs has no weights to train: score it by --mode=eval"):
        run(config, tmp_path / "other", "train")
    assert not (tmp_path / "other").exists()


def test_models_with_weights_ask_for_them(video: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"vinet has weights: give --checkpoint=DIR.*without \(.*gbvs, gbvs_av"):
        Predictor(model="vinet")
    with pytest.raises(InputError, match="unknown model 'gvbs'"):
        Predictor(model="gvbs")
    assert predict.main([str(video), f"--out={tmp_path / 'out'}", "--model=vinet"]) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("size", "frames"),
    [((360, 640), (360, 640)), ((1080, 1920), (360, 640)), ((1920, 1080), (640, 360)), ((120, 160), (120, 160))],
)
def test_frames_keep_the_aspect_ratio(size: tuple[int, int], frames: tuple[int, int]) -> None:
    model = models.create("gbvs")
    assert model.fitted_size(size, (360, 640)) == frames
    assert model.fitted_size((2, 4000), (360, 640)) == (32, 640)


def test_a_model_sets_its_own_defaults(video: pathlib.Path) -> None:
    assert base("gbvs").preprocessing == "unit"
    assert base("gbvs").frame_size == (360, 640)
    assert isinstance(base("vinet"), ConfigDict)
    assert base("vinet").frame_size == (224, 384)
    predictor = Predictor(model="gbvs")
    (first, *_) = predictor.clips(probe(video))
    assert first.inputs["video"].shape == (1, 64, 96, 3)
    assert first.inputs["video"].max() <= 1
    config = base("gbvs")
    config.preprocessing = "vinet"
    with pytest.raises(InputError, match="'vinet': gbvs is computed from other values: set preprocessing='unit'"):
        Inference.from_config(config)


def test_options_without_effect_are_refused(video: pathlib.Path, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="gbvs_av decides by itself, anew for every frame"):
        Predictor().run(video, out, every=1.0, progress=False)
    with pytest.raises(InputError, match="batch_size=0: give 1 or more"):
        Predictor(model="gbvs", batch_size=0).run(video, out, progress=False)
    assert not out.exists()
