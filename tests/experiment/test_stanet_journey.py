"""STANet from its configuration to a video: two steps, an evaluation and a prediction, gated by its own SoundSwitch."""

import importlib.util
import pathlib

import jax
import numpy as np
import pytest
from media_files import regular, write_video
from ml_collections import ConfigDict

from avsd_jax.common.parallel import make_mesh
from avsd_jax.experiment.comparison import derive
from avsd_jax.predict import Predictor
from avsd_jax.runs.components import Inference
from avsd_jax.training import loop, score

CONFIG = pathlib.Path(__file__).parents[2] / "configs/stanet.py"


def tiny_star(data_dir: pathlib.Path):
    """The demo's gated row at a size that compiles soon, from scratch."""
    spec = importlib.util.spec_from_file_location(CONFIG.stem, CONFIG)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = {row.name: row.config for row in derive(module.get_config("demo"), "runs")}
    config = rows["av_star"].unlock()
    config.model.update(width=0.03, depths=(1, 1, 1), classifier="soundswitch_audio")
    config.model.classifier_options = ConfigDict({"width": 0.03})
    config.update(dataset="sounding_shapes/tiny", data_dir=str(data_dir), build_data=False, frame_size=(32, 48))
    config.update(total_steps=2, batch_size=8, init="", audit=False, eval_stride=10, eval_batch_size=8)
    config.update(tensorboard=False, samples_per_video=1, log_every=1)
    for part in config.init_parts:
        config.init_parts[part] = ""
    return config.lock()


@pytest.mark.slow
def test_two_steps_an_evaluation_and_a_film(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path):
    config = tiny_star(tiny_data_dir)
    state = loop.train(config, tmp_path / "run", mesh=make_mesh(jax.devices()[:1]))  # compiles soonest
    assert int(state.step) == 2
    scores = score.evaluate(config, Inference.from_config(config), state.eval_variables)["real"]
    assert np.isfinite([scores["scores"]["all"][metric] for metric in ("CC", "NSS", "KL")]).all()

    video = write_video(tmp_path / "film.mp4", regular(12, 12.5), size=(48, 80))
    result = Predictor(tmp_path / "run", batch_size=8).run(video, tmp_path / "out", maps="png", progress=False)
    assert result.num_frames == 12
    assert len(list((tmp_path / "out/maps").iterdir())) == 12
    timeline = (tmp_path / "out/timeline.json").read_text()
    assert '"avc_probability"' in timeline
    assert "null" not in timeline
