"""Scores of published weights on videos that these have seen come with a warning."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from avsd_jax import evaluate
from avsd_jax.config.base import base
from avsd_jax.data.catalog import open_store
from avsd_jax.evaluation import leaks
from avsd_jax.prediction.timeline import TimelineWriter
from avsd_jax.runs.checkpoint import save_variables
from avsd_jax.runs.origin import imported_from
from avsd_jax.torch_weights import conversion

TINY = "sounding_shapes/tiny"


def test_only_imported_weights_and_seen_datasets_are_warned_of():
    assert "8 of the 17 test videos" in leaks.sentence("dave", "model.pth.tar", "DIEM")
    for dataset in ("coutrot1", "Coutrot2"):
        assert "splits 1, 2 and 3" in leaks.sentence("dave", "model.pth.tar", dataset)
    for given in (("dave", None, "diem"), ("dave", "x.pth", "avad"), ("stavis", "x.pth", "diem")):
        assert leaks.sentence(*given) is None


def test_the_origin_of_weights_is_followed_through_the_runs_that_they_started_from(tmp_path: Path):
    converted = ConfigDict(conversion.record("dave", conversion.model_options("dave", {}), "model.pth.tar"))
    assert (converted.sampler, converted.preprocessing, tuple(converted.frame_size)) == ("dave", "dave", (256, 320))
    assert imported_from(converted) == "model.pth.tar"
    save_variables(tmp_path / "converted", converted, {"params": {"x": np.ones(1)}})
    tuned = base("dave")
    assert imported_from(tuned) is None
    tuned.init = str(tmp_path / "converted")
    assert imported_from(tuned) == "model.pth.tar"
    other = base("dave_audio")
    other.init = tuned.init
    assert imported_from(other) is None
    tuned.init = str(tmp_path / "gone")
    assert imported_from(tuned) is None


def test_maps_that_were_predicted_here_say_where_their_weights_come_from(
    tmp_path: Path, tiny_data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setitem(leaks.SEEN["dave"], "sounding_shapes", "all of them")
    for index in open_store(TINY, "test", tiny_data_dir).videos:
        folder = tmp_path / "maps" / index.id
        (folder / "maps").mkdir(parents=True)
        Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6)).save(folder / "maps/000003.png")
        writer = TimelineWriter(folder / "timeline.json", {"model": "dave", "imported_from": "model.pth.tar"})
        writer.write({"frame": 0})
        writer.finish({"num_frames": 1})
    arguments = [f"--predictions={tmp_path / 'maps'}", f"--dataset={TINY}", f"--data_dir={tiny_data_dir}"]
    arguments += ["--metrics=CC", "--workers=1", "--first_frame=0", f"--out={tmp_path / 'out'}"]
    assert evaluate.main(arguments) == 0
    said = "dave was imported from model.pth.tar, and the published weights have seen sounding_shapes/tiny: all of them"
    assert capsys.readouterr().err.count(f"warning: {said}") == 1
    assert f"- **{said} (" in (tmp_path / "out/scores.md").read_text()
    shutil.rmtree(tmp_path / "out")
    for path in tmp_path.glob("maps/*/timeline.json"):
        path.unlink()
    assert evaluate.main(arguments) == 0
    assert "imported" not in capsys.readouterr().err
