"""Weak supervision: the arithmetic of maps, and all stages from tags to a trained and scored model."""

import importlib.util
import json
import pathlib

import devices
import golden
import jax
import numpy as np
import pytest
from media_files import regular, write_video
from ml_collections import ConfigDict

from avsd_jax.data import target_maps
from avsd_jax.data.catalog import open_store
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.experiment.comparison import derive
from avsd_jax.predict import Predictor
from avsd_jax.runs.checkpoint import load_for_inference
from avsd_jax.runs.components import Inference
from avsd_jax.runs.initial import initial_variables
from avsd_jax.scam import cam, fusion, stages
from avsd_jax.training import loop, score

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("seed", [0, 1])
def test_fusion_box_and_smoothing_equal_the_official_arithmetic(shared, seed):
    recorded = golden.load(shared, "stanet/ours_scamfuse", seed)
    fused = fusion.fuse([recorded[name] for name in "VAT"], recorded["p"])
    np.testing.assert_allclose(fused, recorded["F"], atol=1e-12)
    np.testing.assert_array_equal(fusion.bounding_box(fused), recorded["box_rmin_rmax_cmin_cmax_1based"])
    frames, smoothed = zip(*fusion.smooth(recorded["seq"]), strict=True)
    assert frames == tuple(range(3, 10))
    np.testing.assert_allclose(smoothed, recorded["smooth_frame4to10"], atol=1e-7)


def test_smoothing_lags_and_a_cut_keeps_what_stands_out():
    """A light that jumps to the other side at frame 10 is followed only frames later."""
    maps = np.zeros((40, 1, 8))
    maps[:10, 0, 1] = maps[10:, 0, 6] = 1.0
    smoothed = dict(fusion.smooth(maps))
    assert [int(smoothed[i].argmax()) for i in (7, 10, 14, 30)] == [1, 1, 1, 6]
    np.testing.assert_array_equal(fusion.cut(np.array([[0.0, 1.0, 2.0, 5.0]]), 1.0), [[0, 0, 2, 5]])


def test_a_branch_that_errs_does_not_count():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 9, 9)).astype(np.uint8)
    np.testing.assert_allclose(fusion.fuse([first, second], [0.7, 0.0]), fusion.min_max(first), atol=1e-12)
    both = fusion.fuse([first, second], [0.9, 0.1])
    assert np.corrcoef(both.ravel(), first.ravel())[0, 1] > np.corrcoef(both.ravel(), second.ravel())[0, 1]


def test_what_is_cut_out_is_put_back_in_its_place():
    frame = np.zeros((40, 40, 3), np.uint8)
    frame[10:20, 24:36] = 200
    box = fusion.bounding_box(frame[..., 0].astype(float))
    np.testing.assert_array_equal(box, [11, 20, 25, 36])
    assert (fusion.crop(frame, box, 40) == 200).all()
    pasted = fusion.paste(np.ones((7, 7)), box, 40)
    np.testing.assert_allclose(pasted, frame[..., 0] / 200, atol=1e-12)
    np.testing.assert_array_equal(fusion.bounding_box(np.ones((5, 6))), [1, 5, 1, 6])


@pytest.mark.parametrize("rule", cam.RULES)
def test_a_frame_shows_the_tags_of_its_video_and_one_tag_is_the_official_case(rule):
    class_maps = np.zeros((4, 5, 3), np.float32)
    class_maps[1, 1, 0], class_maps[2, 3, 1], class_maps[3, 0, 2] = 4.0, 2.0, 9.0
    shown = cam.activation_image(class_maps, np.array([True, True, False]), rule)
    assert (shown[1, 1], shown[3, 0]) == (255, 0)
    assert shown[2, 3] in (127, 128)
    only = cam.activation_image(class_maps, np.array([False, True, False]), rule)
    np.testing.assert_array_equal(only, cam.RULES[rule](class_maps[..., 1]))
    np.testing.assert_array_equal(cam.RULES[rule](np.zeros((2, 2), np.float32)), np.zeros((2, 2)))
    with pytest.raises(InputError, match="none of the tags"):
        cam.activation_image(class_maps, np.zeros(3, bool), rule)
    with pytest.raises(InputError, match="unknown rule of activation maps 'x': choose one of stretched, rectified"):
        cam.activation_image(class_maps, np.ones(3, bool), "x")


def test_names_are_looked_at_before_anything_is_trained(tmp_path: pathlib.Path):
    config = tiny_scam(pathlib.Path("none")).unlock()
    config.scam.rule = "x"
    with pytest.raises(InputError, match="unknown rule of activation maps 'x'"):
        stages.run(config, tmp_path / "run")
    config.rows = ("coarse_s",)
    with pytest.raises(InputError, match=r"config\.rows lacks 'coarse_sa'"):
        stages.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_dir": "none"}, "'sounding_shapes/tiny' is not built in 'none'"),
        ({"tags": ("bus",) * 6}, "'train_00000' has none of the tags bus"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'"),
        ({"init": "none"}, "none is not a trained model"),
        ({"batch_size": 7}, "batch_size=7 does not split over"),
    ],
)
def test_what_cannot_start_leaves_nothing_behind(
    changes: dict, message: str, tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        stages.run(tiny_scam(tiny_data_dir, **changes), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_confidence_is_the_softmax_of_what_is_true():
    scores = np.array([2.0, 1.0, -1.0])
    odds = np.exp(scores) / np.exp(scores).sum()
    assert cam.confidence(scores, np.array([True, False, False])) == pytest.approx(odds[0])
    assert cam.confidence(scores, np.array([True, False, True])) == pytest.approx(odds[0] + odds[2])
    assert cam.confidence(scores, np.array([False, True, True])) == 0


def demo_config(name: str) -> ConfigDict:
    """The variant `demo` of a configuration file, unlocked."""
    spec = importlib.util.spec_from_file_location(f"{name}_config", CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config("demo").unlock()


def shrunk(config: ConfigDict, data_dir: pathlib.Path, /, **changes: object) -> ConfigDict:
    """A configuration for networks of a few layers and channels on the tiny dataset."""
    config.dataset, config.data_dir, config.build_data = "sounding_shapes/tiny", str(data_dir), False
    config.model.width, config.model.depths, config.frame_size = 1 / 32, (1, 1, 1), (64, 64)
    config.batch_size = config.eval_batch_size = 8
    config.warmup_steps, config.tensorboard = 1, False
    with config.ignore_type():
        config.update(changes)
    return config.lock()


def tiny_scam(data_dir: pathlib.Path, /, **changes: object) -> ConfigDict:
    """The demo at the size of a test. One fine network stands for three, which are compiled like the coarse ones."""
    config = demo_config("scam")
    config.scam.side, config.scam.smooth = 64, True
    config.scam.fine = ("fine_s",)
    config.rows = (*config.scam.coarse, *config.scam.fine)
    return shrunk(config, data_dir, **{"total_steps": 4} | changes)


@pytest.fixture(scope="module")
def weak_run(tmp_path_factory: pytest.TempPathFactory, tiny_data_dir: pathlib.Path) -> pathlib.Path:
    """A complete run that would fail if it read any eye-tracking data."""
    workdir = tmp_path_factory.mktemp("scam")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("density", "fixations"):
            patch.setattr(VideoStore, name, _nobody_watched)
        devices.train_on_one(patch)
        stages.run(tiny_scam(tiny_data_dir), workdir)
    return workdir


def _nobody_watched(*args: object) -> None:
    raise AssertionError("what viewers did was read")


@pytest.mark.slow
def test_maps_are_made_of_tags_alone(weak_run: pathlib.Path, tiny_data_dir: pathlib.Path):
    record = json.loads((weak_run / "maps" / "maps.json").read_text())
    assert list(record["classifiers"]) == ["coarse_s", "coarse_sa", "coarse_st", "fine_s"]
    written = sorted((weak_run / "maps").rglob("*.png"))
    assert len(written) == record["maps"] > 0
    store = open_store("sounding_shapes/tiny", "train", tiny_data_dir)
    weak = target_maps.replace_density(store, weak_run / "maps")
    frames = {(video, frame) for video in range(4) for frame in range(40) if weak.density(video, frame).any()}
    assert frames
    assert {frame for _, frame in frames} <= {15, 20, 25}  # every fifth, three after the first, two before the last
    assert weak.density(*next(iter(frames))).shape == (64, 64)
    assert not len(weak.fixations(0, 15))
    assert not list(weak_run.rglob("*.partial"))


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_a_changed_one_is_refused(
    weak_run: pathlib.Path, tiny_data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    devices.train_on_one(monkeypatch)
    config = tiny_scam(tiny_data_dir)
    before = {path: path.read_bytes() for path in (weak_run / "maps").rglob("*.png")}
    boxes = json.loads((weak_run / "boxes.json").read_text())
    cams = weak_run / "cams" / "fine_s" / "train_00002.npz"
    for path in (cams, weak_run / "maps" / "maps.json", *before):
        path.unlink()
    stages.run(config, weak_run)
    assert cams.exists()
    assert {path: path.read_bytes() for path in (weak_run / "maps").rglob("*.png")} == before
    assert json.loads((weak_run / "boxes.json").read_text()) == boxes
    with pytest.raises(InputError, match="holds a run with total_steps=4, now 5"):
        stages.run(tiny_scam(tiny_data_dir, total_steps=5), weak_run)
    unseen = tiny_scam(tiny_data_dir, tags=("bus",))
    unseen.model.num_tags = 1
    with pytest.raises(InputError, match="'train_00000' has none of the tags bus"):
        stages.run(unseen, weak_run.parent / "other")
    assert not (weak_run.parent / "other").exists()


@pytest.mark.slow
def test_classifiers_start_from_the_trunk_of_the_first(weak_run: pathlib.Path, tiny_data_dir: pathlib.Path):
    rows = {row.name: row for row in derive(tiny_scam(tiny_data_dir), weak_run)}
    _, source = load_for_inference(weak_run / "coarse_s")
    for name in ("coarse_sa", "coarse_st"):
        config = rows[name].config
        started = initial_variables(config, Inference.from_config(config))
        for collection, tree in source.items():
            ours = started[collection]["features"]
            assert jax.tree.all(jax.tree.map(np.array_equal, ours, tree["features"]))


def gated_stanet(data_dir: pathlib.Path, maps: pathlib.Path) -> ConfigDict:
    """The demo's gated row at a size that compiles soon, from scratch, on maps."""
    rows = {row.name: row.config for row in derive(demo_config("stanet"), "runs")}
    config = rows["av_star"].unlock()
    config.model.classifier = "soundswitch_audio"
    config.model.classifier_options = ConfigDict({"width": 1 / 32})  # `update` would keep what is there
    config.update(init="", target_maps=str(maps), samples_per_video=1)
    for part in config.init_parts:
        config.init_parts[part] = ""
    return shrunk(config, data_dir, total_steps=2, eval_stride=20, audit=False, log_every=1)


@pytest.mark.slow
def test_stanet_learns_from_the_maps_without_any_fixation_is_scored_and_predicts(
    weak_run: pathlib.Path, tiny_data_dir: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    """Two steps in which nothing that viewers did may be read; then the scores, for which it is; then a film."""
    config = gated_stanet(tiny_data_dir, weak_run / "maps")
    with monkeypatch.context() as patch:
        for name in ("density", "fixations"):
            patch.setattr(VideoStore, name, _nobody_watched)
        devices.train_on_one(patch)
        state = loop.train(config, tmp_path / "run")
    assert int(state.step) == 2
    record = score.evaluate(config, Inference.from_config(config), state.eval_variables)["real"]
    assert np.isfinite(list(record["scores"]["all"].values())).all()

    video = write_video(tmp_path / "film.mp4", regular(12, 12.5), size=(48, 80))
    result = Predictor(tmp_path / "run", batch_size=8).run(video, tmp_path / "out", maps="png", progress=False)
    assert result.num_frames == 12
    assert len(list((tmp_path / "out/maps").iterdir())) == 12
    timeline = (tmp_path / "out/timeline.json").read_text()
    assert '"avc_probability"' in timeline
    assert "null" not in timeline


def test_maps_that_do_not_fit_are_refused(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path):
    store = open_store("sounding_shapes/tiny", "train", tiny_data_dir)
    with pytest.raises(InputError, match=r"has no maps\.json"):
        target_maps.replace_density(store, tmp_path)
    for damaged in ("{", "[]", '{"split": "train"}'):
        (tmp_path / "maps.json").write_text(damaged)
        with pytest.raises(InputError, match=r"maps\.json is damaged .*: make the maps again"):
            target_maps.replace_density(store, tmp_path)
    target_maps.write_record(tmp_path, "sounding_shapes/tiny", "test", {})
    with pytest.raises(InputError, match="holds maps of sounding_shapes/tiny test, not of sounding_shapes/tiny train"):
        target_maps.replace_density(store, tmp_path)
    target_maps.write_record(tmp_path, "sounding_shapes/tiny", "train", {})
    with pytest.raises(InputError, match="no map for any video"):
        target_maps.replace_density(store, tmp_path)
    target_maps.write_map(tmp_path, "train_00001", 7, np.full((3, 4), 9, np.uint8))
    (tmp_path / "train_00001" / "overview.png").touch()
    weak = target_maps.replace_density(store, tmp_path)
    np.testing.assert_array_equal(weak.density(1, 7), np.full((3, 4), 9))
    assert not weak.density(1, 8).any()
    assert store.density(1, 7).any()
    (tmp_path / "train_00001" / "000007.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"000007\.png cannot be read"):
        weak.density(1, 7)
