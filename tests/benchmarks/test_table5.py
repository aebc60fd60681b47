"""The classifiers of Table V: which runs are trained, and the report of made-up scores."""

import json
import pathlib

import numpy as np
import pytest
from config_files import CONFIGS, load
from ml_collections import ConfigDict

from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.evaluation import published
from avsd_jax.experiment.comparison import derive
from avsd_jax.runs.stores import scoring_store
from avsd_jax.scoring.protocols import NATIVE
from avsd_jax.scoring.summary import Frames
from benchmarks import stored_frames, table5


def demo(data_dir: pathlib.Path | str = "data") -> ConfigDict:
    config = load(CONFIGS / "avinet.py").get_config("demo").unlock()
    config.update(dataset="sounding_shapes/tiny", data_dir=str(data_dir))
    return config


def test_a_seed_trains_one_saliency_network_and_equal_classifiers() -> None:
    rows = {row.name: row for row in derive(table5.training_config(demo(), 7), "runs")}
    assert list(rows)[-5:] == [table5.SALIENCY, *table5.CLASSIFIERS]
    assert not any(row.label for row in rows.values())
    assert {row.config.seed for row in rows.values()} == {7}
    saliency = rows[table5.SALIENCY].config
    assert saliency.model.gate == "labels"
    assert not saliency.init_parts.get("classifier", "")
    used = {source for row in rows.values() for source in (row.config.init, *row.config.init_parts.values())} - {""}
    assert used == {str(row.folder) for row in list(rows.values())[:-5]}, "nothing else is trained"
    alone = [rows[name].config for name in table5.CLASSIFIERS]
    assert len({(c.total_steps, c.batch_size, c.learning_rate, c.model_name) for c in alone}) == 1
    assert [c.model.classifier for c in alone] == ["l3net", "avenet", "avid", "avid"]
    assert [c.avc_supervision for c in alone] == ["labels", "labels", "labels", "weak"]
    config = demo()
    config.rows = ("base",)
    with pytest.raises(InputError, match="no row 'av_star' that starts from a classifier's"):
        table5.training_config(config, 0)


def made_up(store: VideoStore, right: float | None, seed: int) -> Frames:
    """Scores of every third frame; a classifier is right in a share of them, and is sure of it."""
    rng = np.random.default_rng(seed)
    video, frame = (x.ravel() for x in np.meshgrid(range(len(store.videos)), range(0, 40, 3), indexing="ij"))
    label = np.array([store.avc_label(int(v))[f] for v, f in zip(video, frame, strict=True)])
    scores = {metric: rng.uniform(0.4, 0.6, len(video)) for metric in NATIVE.metrics}
    part = np.zeros(len(video), int)
    if right is None:
        return Frames(part, video, frame, label, scores, gate=np.ones(len(video), bool))
    margin = np.where((label == 1) == (rng.random(len(video)) < right), 2.0, -2.0)
    scores["CC"] += 0.5 * right
    return Frames(part, video, frame, label, scores, gate=margin > 0, margin=margin)


def test_the_report_of_made_up_scores(
    tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = demo(tiny_data_dir)
    config.update(train_split="train", test_split="test")
    store = scoring_store(config)
    shares = {"l3net": 0.0, "avenet": 0.5, "avid": 1.0, "avid_ws": 0.7} | dict.fromkeys(table5.REFERENCES)
    monkeypatch.setattr(table5, "run", lambda config, folder, mode: {})
    monkeypatch.setattr(
        table5, "score", lambda config, folder: {n: made_up(store, x, config.seed) for n, x in shares.items()}
    )
    text = table5.repeat(config.lock(), tmp_path, [0, 1])
    record = json.loads((tmp_path / "table5.json").read_text())
    assert (tmp_path / "table5.md").read_text() == text
    assert (tmp_path / "reliability.png").read_bytes()[:4] == b"\x89PNG"
    avid = record["rows"]["avid"]
    assert avid["classifier"]["accuracy"] == [1.0, 0.0]
    assert set(avid["by_segment"].values()) == {1.0}
    assert {"voice", "within 0.5 s"} <= set(avid["by_segment"])
    assert record["rows"]["l3net"]["by_segment"]["voice"] == 0.0
    pair = next(p for p in record["pairs"] if (p["a"], p["b"]) == ("l3net", "avid"))
    assert pair["accuracy"]["difference"] == -1.0
    assert pair["CC"]["difference"] == pytest.approx(-0.5)
    assert "| AVID | 1.000 ± 0.000 |" in text
    assert "0.8759" in text
    assert "| L3-Net - AVID | -1.000 [-1.000, -1.000]" in text


def test_scores_that_are_stored_come_back(tmp_path: pathlib.Path) -> None:
    frames = Frames(
        np.zeros(2, int),
        np.arange(2),
        np.arange(2),
        np.array([1, -1]),
        {"CC": np.array([0.5, np.nan])},
        np.ones(2, bool),
    )
    path = tmp_path / "kept.npz"
    for damage in (b"", b"PK", b"\x93NUMPY"):
        path.write_bytes(damage)
        assert stored_frames.kept(path, ["digest"], lambda: (frames, 1.5))[1] == 1.5
        assert stored_frames.kept(path, ["digest"], lambda: (frames, 2.5))[1] == 1.5
    again = stored_frames.from_arrays(stored_frames.to_arrays(frames))
    assert again.margin is None
    np.testing.assert_array_equal(again.scores["CC"], frames.scores["CC"])
    assert {line["classifier"] for line in published.lines("table5")} == {c[1] for c in table5.CLASSIFIERS.values()}
